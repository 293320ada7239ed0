//! Removes directories that somebody else has filled.
//!
//! A job can make directories as deep as it likes. The standard library goes down them with a stack
//! frame and an open file for each, so that a few ten thousand end the process. Here neither grows
//! with the depth: what lies deeper than [`DEEPEST`] is first moved up.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Directories within each other that are gone through as they are; each holds an open file.
const DEEPEST: usize = 64;
/// How often a directory is gone through that was not empty afterwards: something was added, or the
/// file system does not list all of a directory that becomes smaller meanwhile.
const ROUNDS: usize = 3;
/// What removing needs of a directory.
const OWNERS: Mode = Mode::RWXU;

/// What to do about directories whose permissions are in the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permissions {
    /// They count.
    Keep,
    /// Their owner, who this process runs as, has put them there: they are given back. Nobody else
    /// may be at work in the directory, since a link put in its place would be followed.
    Restore,
}

/// Removes a file, a link, or a directory with everything in it. Links are removed, not followed.
///
/// # Errors
/// When nothing is there, or something cannot be removed; the rest may then be gone.
pub fn remove_all(path: &Path, permissions: Permissions) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = fs::openat(CWD, parent, directory_flags(), Mode::empty())?;
    remove_all_at(parent.as_fd(), name, permissions)
}

/// Removes what has this name in a directory, as [`remove_all`] does. No way leads out of it.
///
/// # Errors
/// As [`remove_all`].
pub fn remove_all_at(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    permissions: Permissions,
) -> io::Result<()> {
    let there = fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(there.st_mode) != FileType::Directory {
        return Ok(fs::unlinkat(parent, name, AtFlags::empty())?);
    }
    let top = open(parent, name, permissions)?;
    let mut removal = Removal { top, moved: 0, permissions };
    removal.empty_top()?;
    Ok(fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

struct Removal {
    /// What is removed as a whole, and where what is too deep goes.
    top: OwnedFd,
    /// Directories that were moved there.
    moved: u64,
    permissions: Permissions,
}

impl Removal {
    fn empty_top(&mut self) -> io::Result<()> {
        loop {
            let before = self.moved;
            // A file of its own: its place in the directory is not shared.
            let again = fs::openat(&self.top, ".", directory_flags(), Mode::empty())?;
            self.empty(again, 0)?;
            if self.moved == before {
                return Ok(());
            }
        }
    }

    /// Removes everything in a directory but what it has moved away from below it.
    fn empty(&mut self, directory: OwnedFd, depth: usize) -> io::Result<()> {
        let mut entries = Dir::new(directory)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let here = entries.fd()?;
            let kind = match entry.file_type() {
                FileType::Unknown => match fs::statat(here, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(there) => FileType::from_raw_mode(there.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(error) => return Err(error.into()),
                },
                kind => kind,
            };
            if kind != FileType::Directory {
                gone(fs::unlinkat(here, name, AtFlags::empty()))?;
            } else if depth < DEEPEST {
                self.remove_directory(here, name, depth + 1)?;
            } else {
                self.move_up(here, name)?;
            }
        }
        Ok(())
    }

    fn remove_directory(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        depth: usize,
    ) -> io::Result<()> {
        let mut round = 1;
        loop {
            match open(parent, name, self.permissions) {
                Ok(directory) => self.empty(directory, depth)?,
                Err(Errno::NOENT) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            match gone(fs::unlinkat(parent, name, AtFlags::REMOVEDIR)) {
                Err(Errno::NOTEMPTY) if round < ROUNDS => round += 1,
                removed => return Ok(removed?),
            }
        }
    }

    /// Moves a directory into the topmost one, which is gone through once more.
    fn move_up(&mut self, parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        if self.permissions == Permissions::Restore {
            // Its parent is written into it.
            open(parent, name, self.permissions)?;
        }
        loop {
            self.moved += 1;
            let free = format!(".removed-{}", self.moved);
            match gone(fs::renameat(parent, name, &self.top, &free)) {
                // There is such a name already.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                moved => return Ok(moved?),
            }
        }
    }
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

fn open(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    permissions: Permissions,
) -> rustix::io::Result<OwnedFd> {
    let flags = directory_flags() | OFlags::NOFOLLOW;
    let opened = fs::openat(parent, name, flags, Mode::empty());
    if permissions == Permissions::Keep {
        return opened;
    }
    let directory = match opened {
        Err(Errno::ACCESS) => {
            fs::chmodat(parent, name, OWNERS, AtFlags::empty())?;
            fs::openat(parent, name, flags, Mode::empty())?
        }
        opened => opened?,
    };
    if !Mode::from_raw_mode(fs::fstat(&directory)?.st_mode).contains(OWNERS) {
        fs::fchmod(&directory, OWNERS)?;
    }
    Ok(directory)
}

/// What another has removed meanwhile is gone as well.
fn gone(removed: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match removed {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self as std_fs, Permissions as Bits};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::*;

    /// Directories within each other, each with a file, made as a job would make them.
    fn deep(root: &Path, levels: usize) {
        let mut here = fs::openat(CWD, root, directory_flags(), Mode::empty()).unwrap();
        for _ in 0..levels {
            fs::mkdirat(&here, "d", Mode::RWXU).unwrap();
            let flags = OFlags::WRONLY | OFlags::CREATE;
            fs::openat(&here, "file", flags, Mode::RUSR).unwrap();
            here = fs::openat(&here, "d", directory_flags(), Mode::empty()).unwrap();
        }
    }

    fn root() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("tree");
        std_fs::create_dir(&tree).unwrap();
        (root, tree)
    }

    #[test]
    fn what_is_deeper_than_any_stack_is_removed() {
        let (_root, tree) = root();
        deep(&tree, 2_000);
        let removed = tree.clone();
        let small = std::thread::Builder::new().stack_size(128 * 1024);
        let done = small.spawn(move || remove_all(&removed, Permissions::Restore)).unwrap();
        done.join().unwrap().unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn names_that_are_taken_are_not_in_the_way() {
        let (_root, tree) = root();
        std_fs::create_dir_all(tree.join(".removed-1/below")).unwrap();
        std_fs::write(tree.join(".removed-2"), "").unwrap();
        for branch in ["a", "b"] {
            std_fs::create_dir(tree.join(branch)).unwrap();
            deep(&tree.join(branch), 3 * DEEPEST);
        }
        remove_all(&tree, Permissions::Keep).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let (root, tree) = root();
        let other = root.path().join("other");
        std_fs::create_dir(&other).unwrap();
        std_fs::write(other.join("kept"), "").unwrap();
        symlink(&other, tree.join("directory")).unwrap();
        symlink("/nowhere", tree.join("nothing")).unwrap();
        symlink(&other, root.path().join("link")).unwrap();
        remove_all(&tree, Permissions::Restore).unwrap();
        remove_all(&root.path().join("link"), Permissions::Restore).unwrap();
        assert!(other.join("kept").exists());
        assert_eq!(std_fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_is_removed_and_nothing_is_an_error() {
        let (_root, tree) = root();
        std_fs::write(tree.join("file"), "").unwrap();
        remove_all(&tree.join("file"), Permissions::Keep).unwrap();
        let missing = remove_all(&tree.join("file"), Permissions::Keep).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(remove_all(Path::new("/"), Permissions::Keep).is_err());
    }

    #[test]
    fn permissions_are_given_back_before_they_are_in_the_way() {
        let (_root, tree) = root();
        let locked = tree.join("a/b/c");
        std_fs::create_dir_all(&locked).unwrap();
        for directory in [&locked, &tree.join("a")] {
            std_fs::set_permissions(directory, Bits::from_mode(0o000)).unwrap();
        }
        // Root needs none of them, so the step is looked at by itself as well.
        let parent = fs::openat(CWD, &tree, directory_flags(), Mode::empty()).unwrap();
        open(parent.as_fd(), OsStr::new("a"), Permissions::Restore).unwrap();
        let mode = std_fs::metadata(tree.join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        remove_all(&tree, Permissions::Restore).unwrap();
        assert!(!tree.exists());
    }
}
