//! Directories and the disks they are on.

use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::nearest;
use crate::doctor::facts::Directory;

const MIB: u64 = 1024 * 1024;

/// Looks at a directory, which need not be there.
pub(super) fn look(path: &Path) -> Directory {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = nearest(&path);
    let free = statvfs(there)
        .ok()
        .map(|disk| wide(disk.blocks_available()).saturating_mul(wide(disk.fragment_size())) / MIB);
    Directory {
        unwritable: try_to_write(there).err().map(|error| error.to_string()),
        filesystem: filesystem(there),
        free_mib: free,
        path,
    }
}

/// The numbers have different types on different systems.
fn wide(number: impl Into<u64>) -> u64 {
    number.into()
}

/// Makes a file that is gone at once.
fn try_to_write(directory: &Path) -> io::Result<()> {
    tempfile::tempfile_in(directory).map(drop)
}

#[cfg(target_os = "macos")]
fn filesystem(path: &Path) -> Option<String> {
    nix::sys::statfs::statfs(path).ok().map(|disk| disk.filesystem_type_name().to_owned())
}

#[cfg(not(target_os = "macos"))]
fn filesystem(path: &Path) -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let real = std::fs::canonicalize(path).ok()?;
    kind_of(&mounts, &real)
}

/// The kind of the file system that a path is on, by Linux's list of mounts.
#[cfg_attr(target_os = "macos", allow(dead_code, reason = "macOS is asked directly"))]
fn kind_of(mountinfo: &str, path: &Path) -> Option<String> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let point = PathBuf::from(before.split(' ').nth(4)?.replace("\\040", " "));
        path.starts_with(&point).then_some((point, after.split(' ').next()?))
    });
    // Of several on one point the last one is seen.
    let innermost = mounts.max_by_key(|(point, _)| point.components().count());
    innermost.map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "\
1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 0:5 / /home rw,relatime shared:1 - nfs4 server:/home rw
3 2 8:2 / /home/me/on\\040disk rw - xfs /dev/sdb rw
";
        let kind = |path: &str| kind_of(mounts, Path::new(path));
        assert_eq!(kind("/var").as_deref(), Some("ext4"));
        assert_eq!(kind("/home/me/.metal9").as_deref(), Some("nfs4"));
        assert_eq!(kind("/home/me/on disk/x").as_deref(), Some("xfs"));
    }

    #[test]
    fn a_directory_that_will_be_made_is_judged_by_the_one_above() {
        let root = tempfile::tempdir().unwrap();
        let found = look(&root.path().join("a/b"));
        assert_eq!(found.path, root.path().join("a/b"));
        assert!(
            found.unwritable.is_none() && found.free_mib.is_some() && found.filesystem.is_some()
        );
        assert!(look(Path::new("/proc/self/nothing")).unwritable.is_some());
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
