//! Makes files in one directory, whatever their names and links say.
//!
//! Every path is resolved by the kernel with that directory as its root (`openat2`,
//! `RESOLVE_IN_ROOT`), so that links made by the layer itself lead nowhere else; the last part of a
//! path is never followed.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid,
    XattrFlags,
};
use rustix::io::Errno;

use crate::unpack::{Facts, Node};

/// The attribute that makes a directory hide what lower layers have in it.
const OPAQUE: &str = "trusted.overlay.opaque";

/// A directory that is being filled.
pub(crate) struct Tree {
    root: OwnedFd,
    /// The account and group of what nothing is said about.
    owner: u32,
    /// The directory of the last entry; the next one is usually in it, too.
    last: Option<(PathBuf, OwnedFd)>,
    /// The times of directories are set last: making files in them changes those.
    times: Vec<(PathBuf, i64)>,
}

impl Tree {
    /// A tree in a directory that is there; `owner` gets what the layer says nothing about.
    pub(crate) fn open(path: &Path, owner: u32) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        implied(&root, owner)?;
        Ok(Self { root, owner, last: None, times: Vec::new() })
    }

    /// Makes something; what is there gives way. Returns the bytes written.
    pub(crate) fn make(
        &mut self,
        path: &Path,
        node: Node<'_>,
        facts: &Facts<'_>,
    ) -> io::Result<u64> {
        let (parent, name) = self.parent(path)?;
        let there = stat(&parent, name)?;
        let is_dir = matches!(node, Node::Directory);
        let keeps = is_dir && there.as_ref().is_some_and(|it| kind(it) == FileType::Directory);
        if let (Some(there), false) = (&there, keeps) {
            self.remove(&parent, name, there)?;
        }
        let written = match node {
            Node::Directory => {
                if !keeps {
                    rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
                }
                let made = child(&parent, name)?;
                if there.as_ref().is_some_and(is_whiteout) {
                    hide_all_in(&made)?;
                }
                describe(&made, facts)?;
                self.times.push((path.to_owned(), facts.modified));
                0
            }
            Node::File(contents) => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                let made = rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o600))?;
                let mut file = File::from(made);
                let written = io::copy(contents, &mut file)?;
                let made = OwnedFd::from(file);
                describe(&made, facts)?;
                rustix::fs::futimens(&made, &times(facts.modified))?;
                written
            }
            Node::Symlink(target) => {
                rustix::fs::symlinkat(target, &parent, name)?;
                give(&parent, name, facts)?;
                0
            }
            Node::Pipe => {
                let mode = Mode::from_raw_mode(facts.mode);
                rustix::fs::mknodat(&parent, name, FileType::Fifo, mode, 0)?;
                rustix::fs::chmodat(&parent, name, mode, AtFlags::empty())?;
                give(&parent, name, facts)?;
                0
            }
            Node::Hardlink(target) => {
                self.link(target, &parent, name)?;
                0
            }
        };
        Ok(written)
    }

    fn link(&mut self, target: &Path, parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let to = target.file_name().ok_or(Errno::INVAL)?;
        let of = open_in(&self.root, target.parent().unwrap_or_else(|| Path::new("")))?;
        let there = stat(&of, to)?.ok_or(Errno::NOENT)?;
        // A second name of a whiteout would hide a file, and a directory can have none.
        if is_whiteout(&there) || kind(&there) == FileType::Directory {
            return Err(Errno::NOENT.into());
        }
        Ok(rustix::fs::linkat(&of, to, parent, name, AtFlags::empty())?)
    }

    /// Hides what lower layers have at a path. What this layer has there stays.
    pub(crate) fn hide(&mut self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        match stat(&parent, name)? {
            None => {
                let mode = Mode::from_raw_mode(0o000);
                Ok(rustix::fs::mknodat(&parent, name, FileType::CharacterDevice, mode, 0)?)
            }
            Some(there) if kind(&there) == FileType::Directory => {
                hide_all_in(&child(&parent, name)?)
            }
            Some(_) => Ok(()),
        }
    }

    /// Hides what lower layers have in a directory.
    pub(crate) fn hide_all_in(&mut self, path: &Path) -> io::Result<()> {
        self.last = None;
        hide_all_in(&readable(&self.directory(path)?)?)
    }

    /// Sets what the root directory has beside its contents.
    pub(crate) fn describe_root(&mut self, facts: &Facts<'_>) -> io::Result<()> {
        describe(&self.root, facts)?;
        self.times.push((PathBuf::from("."), facts.modified));
        Ok(())
    }

    /// Sets the times of directories, and waits until all is on the disk.
    pub(crate) fn finish(self) -> io::Result<()> {
        for (path, modified) in &self.times {
            // It may have given way to something else since.
            if let Ok(directory) = open_in(&self.root, path) {
                rustix::fs::futimens(readable(&directory)?, &times(*modified))?;
            }
        }
        Ok(rustix::fs::syncfs(&self.root)?)
    }

    /// The directory that a path is in, which is made if need be, and the path's last part.
    fn parent<'a>(&mut self, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let above = path.parent().unwrap_or_else(|| Path::new(""));
        if let Some((known, directory)) = &self.last
            && known == above
        {
            return Ok((directory.try_clone()?, name));
        }
        let directory = self.directory(above)?;
        self.last = Some((above.to_owned(), directory.try_clone()?));
        Ok((directory, name))
    }

    /// Opens a directory, which is made if it is not there.
    fn directory(&mut self, path: &Path) -> io::Result<OwnedFd> {
        match open_in(&self.root, path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let (parent, name) = match (path.parent(), path.file_name()) {
            (Some(above), Some(name)) => (self.directory(above)?, name),
            _ => return Err(Errno::NOENT.into()),
        };
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
        implied(&child(&parent, name)?, self.owner)?;
        open_in(&self.root, path)
    }

    fn remove(&mut self, parent: &OwnedFd, name: &OsStr, there: &Stat) -> io::Result<()> {
        if kind(there) != FileType::Directory {
            // A link may have led to the directory that is remembered.
            self.last = None;
            return Ok(rustix::fs::unlinkat(parent, name, AtFlags::empty())?);
        }
        self.last = None;
        remove_all(parent, name)
    }
}

/// Removes a directory with all in it. Deep ones are not gone through by recursion.
fn remove_all(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let mut above = vec![(parent.try_clone()?, name.to_owned())];
    while let Some((parent, name)) = above.pop() {
        let here = child(&parent, &name)?;
        let mut inner = None;
        for entry in Dir::read_from(&here)? {
            let entry = entry?;
            let below = OsStr::new(bytes(entry.file_name().to_bytes()));
            if below == "." || below == ".." {
                continue;
            }
            match rustix::fs::unlinkat(&here, below, AtFlags::empty()) {
                Err(Errno::ISDIR) => {
                    inner = Some(below.to_owned());
                    break;
                }
                other => other?,
            }
        }
        match inner {
            Some(inner) => {
                above.push((parent, name));
                above.push((here, inner));
            }
            None => rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR)?,
        }
    }
    Ok(())
}

fn bytes(bytes: &[u8]) -> &OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

/// Opens a directory with `root` as the root directory of every link on the way.
fn open_in(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), how)?)
}

/// Opens a directory by its name.
fn child(parent: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

/// The same directory, for more than finding files in it.
fn readable(directory: &OwnedFd) -> io::Result<OwnedFd> {
    child(directory, OsStr::new("."))
}

fn stat(parent: &OwnedFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Devices of a layer are never made, so this one is a whiteout.
fn is_whiteout(stat: &Stat) -> bool {
    kind(stat) == FileType::CharacterDevice
}

fn hide_all_in(directory: &OwnedFd) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty())?)
}

/// The owner first: a change of it takes the set-user-id bit and the capabilities away.
fn describe(file: &OwnedFd, facts: &Facts<'_>) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(facts.uid), Gid::from_raw(facts.gid));
    rustix::fs::fchown(file, Some(uid), Some(gid))?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(facts.mode))?;
    for (name, value) in &facts.xattrs {
        match rustix::fs::fsetxattr(file, *name, value, XattrFlags::empty()) {
            // The file system has none, or it is not ours to give.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A directory that only the names of files in it speak of.
fn implied(directory: &OwnedFd, owner: u32) -> io::Result<()> {
    rustix::fs::fchown(directory, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))?;
    Ok(rustix::fs::fchmod(directory, Mode::from_raw_mode(0o755))?)
}

fn give(parent: &OwnedFd, name: &OsStr, facts: &Facts<'_>) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(facts.uid), Gid::from_raw(facts.gid));
    rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    let times = times(facts.modified);
    Ok(rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn times(modified: i64) -> Timestamps {
    let time = Timespec { tv_sec: modified, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}
