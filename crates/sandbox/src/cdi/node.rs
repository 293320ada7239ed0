//! Device nodes of the machine.

use std::path::Path;

/// What a device node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// `c` for one of characters, `b` for one of blocks, `p` for a pipe.
    pub kind: char,
    /// The driver.
    pub major: i64,
    /// Which of the driver's.
    pub minor: i64,
    /// The permissions.
    pub mode: u32,
}

/// The device node at a path; nothing if there is none.
#[cfg(target_os = "linux")]
#[must_use]
pub fn node(path: &Path) -> Option<Node> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    use nix::sys::stat::{major, minor};

    let found = std::fs::metadata(path).ok()?;
    let kind = match found.file_type() {
        it if it.is_char_device() => 'c',
        it if it.is_block_device() => 'b',
        it if it.is_fifo() => 'p',
        _ => return None,
    };
    let number = |part: u64| i64::try_from(part).ok();
    Some(Node {
        kind,
        major: number(major(found.rdev()))?,
        minor: number(minor(found.rdev()))?,
        mode: found.mode() & 0o777,
    })
}

/// No other system has containers that could be given one.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn node(_path: &Path) -> Option<Node> {
    None
}
