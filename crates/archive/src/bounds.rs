//! How much an archive may hold.

/// An archive that unpacks to less than this is no bomb, however well it is packed.
const HARMLESS_BYTES: u64 = 256 * 1024 * 1024;

/// Bytes that one byte of an archive may become, above [`HARMLESS_BYTES`]. Source code packs
/// about 4 to 1, and long runs of one byte 1000 to 1.
const LARGEST_RATIO: u64 = 200;

/// How much an archive may hold.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Files and directories, those that are only implied by a file's name included.
    pub entries: usize,
    /// Unpacked bytes of all files together.
    pub bytes: u64,
    /// Bytes of one entry's name.
    pub name: usize,
    /// Directories above one entry.
    pub depth: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries: 200_000, bytes: 8 * 1024 * 1024 * 1024, name: 1024, depth: 64 }
    }
}

impl Bounds {
    /// Bytes that an archive of this length may unpack to.
    pub(crate) fn unpacked(&self, archive_len: u64) -> u64 {
        self.bytes.min(archive_len.saturating_mul(LARGEST_RATIO).max(HARMLESS_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_archive_may_become_no_giant() {
        let bounds = Bounds::default();
        assert_eq!(bounds.unpacked(1000), HARMLESS_BYTES);
        assert_eq!(bounds.unpacked(2 * 1024 * 1024), 400 * 1024 * 1024);
        assert_eq!(bounds.unpacked(u64::MAX), bounds.bytes);
        assert_eq!(Bounds { bytes: 10, ..bounds }.unpacked(1000), 10);
    }
}
