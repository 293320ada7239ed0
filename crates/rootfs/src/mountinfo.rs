//! Reads the kernel's list of mounts.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The places where something is mounted at or below a directory, the last mount first: in that
/// order they can be taken away.
pub(crate) fn below(list: &[u8], directory: &Path) -> Vec<PathBuf> {
    let lines = list.split(|byte| *byte == b'\n').rev();
    // Number, number of the parent, device, root, place.
    let place = |line: &[u8]| line.split(|byte| *byte == b' ').nth(4).map(unescaped);
    lines.filter_map(place).filter(|place| place.starts_with(directory)).collect()
}

/// Spaces, tabs, line ends and backslashes are written as three octal digits.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| first == b'\\');
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }

    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = b"\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
40 22 0:34 / /run/x rw - tmpfs tmpfs rw
41 22 0:35 / /run/x/a\\040b rw - overlay overlay rw,lowerdir=/l
42 41 0:36 / /run/x/a\\040b/c\\134 rw - tmpfs tmpfs rw
43 22 0:37 / /run/xy rw - tmpfs tmpfs rw
";

    #[test]
    fn the_innermost_mounts_come_first() {
        let found = below(LIST, Path::new("/run/x"));
        assert_eq!(found, ["/run/x/a b/c\\", "/run/x/a b", "/run/x"].map(PathBuf::from));
        assert!(below(LIST, Path::new("/run/x/b")).is_empty());
    }
}
