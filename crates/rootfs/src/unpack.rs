//! Unpacks one layer into a directory, believing nothing it says.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use metal9_archive::{Budget, Budgeted};
use tar::{Archive, Entry, EntryType};

use crate::RootfsError;
use crate::decompress;
use crate::digest::{Digest, Hasher};
use crate::entry::{self, Ask};
use crate::room::{Limited, Room, Tripped};
use crate::tree::Tree;
use crate::xattrs;

/// Bytes that an archive may have between the contents of two files: headers, long names and
/// extended attributes. They are read into memory.
const BETWEEN: u64 = 2 * 1024 * 1024;
/// What is said of more.
const TOO_LONG: &str = "the names and attributes of a file are too long";

/// What is made at a path.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "they are made on Linux only"))]
pub(crate) enum Node<'a> {
    Directory,
    File(&'a mut dyn io::Read),
    Symlink(&'a Path),
    /// Another name of a file of this layer.
    Hardlink(&'a Path),
    Pipe,
}

/// What a file has beside its contents.
#[derive(Debug)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "they are made on Linux only"))]
pub(crate) struct Facts<'a> {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The lowest twelve bits.
    pub(crate) mode: u32,
    /// Seconds since 1970.
    pub(crate) modified: i64,
    pub(crate) xattrs: Vec<(&'a str, Cow<'a, [u8]>)>,
}

/// A layer that is to be unpacked.
#[derive(Debug)]
pub(crate) struct Layer<'a> {
    /// What it is when it is unpacked.
    pub(crate) diff_id: &'a Digest,
    /// What it is as it comes, unless that was checked before.
    pub(crate) blob: Option<&'a Digest>,
    /// Bytes that it may unpack to.
    pub(crate) limit: u64,
    /// What is added to the number of every account and group.
    pub(crate) shift: u32,
}

impl Layer<'_> {
    /// Unpacks it from `packed` into a directory that is there and empty. What was written before an
    /// error stays.
    pub(crate) fn unpack(
        &self,
        packed: impl Read,
        target: &Path,
        room: &Arc<Room>,
    ) -> Result<(), RootfsError> {
        let tripped = Tripped::default();
        let result = self.attempt(packed, target, room, &tripped);
        // A limit that was hit is the reason, whatever the readers on the way made of it.
        result.map_err(|error| tripped.take().unwrap_or(error))
    }

    fn attempt(
        &self,
        packed: impl Read,
        target: &Path,
        room: &Arc<Room>,
        tripped: &Tripped,
    ) -> Result<(), RootfsError> {
        let unreadable =
            |error: io::Error| RootfsError::malformed(format!("layer {}", self.diff_id), error);
        let packed = Hashing::new(packed, self.blob.is_some());
        let blob = packed.hasher();
        let plain = Hashing::new(decompress::unpacked(packed).map_err(unreadable)?, true);
        let whole = plain.hasher();
        let plain = Limited {
            inner: plain,
            room: Arc::clone(room),
            tripped: tripped.clone(),
            what: format!("layer {}, unpacked,", self.diff_id),
            limit: self.limit,
            left: self.limit,
        };
        let between = Budget::default();
        let mut archive = Archive::new(Budgeted::new(plain, between.clone(), TOO_LONG));
        let mut filling = Filling {
            tree: Tree::open(target, self.shift).map_err(RootfsError::files("fill", target))?,
            layer: self,
            room,
            target,
            written: 0,
        };
        let mut entries = archive.entries().map_err(unreadable)?;
        loop {
            between.limit(BETWEEN);
            let Some(entry) = entries.next() else { break };
            let mut entry = entry.map_err(unreadable)?;
            between.lift();
            filling.add(&mut entry)?;
            // Else the archive reads on over what is left of it as if it were a header.
            io::copy(&mut entry, &mut io::sink()).map_err(unreadable)?;
        }
        between.lift();
        // What follows the archive's end counts for the digests.
        let mut rest = archive.into_inner();
        io::copy(&mut rest, &mut io::sink()).map_err(unreadable)?;
        filling.tree.finish().map_err(RootfsError::files("fill", target))?;
        if let (Some(expected), Some(hasher)) = (self.blob, blob.take()) {
            expected.check(&hasher.finish(), "a layer")?;
        }
        let found = whole.take().unwrap_or_default().finish();
        self.diff_id.check(&found, "a layer, unpacked,")
    }
}

struct Filling<'a> {
    tree: Tree,
    layer: &'a Layer<'a>,
    room: &'a Room,
    target: &'a Path,
    /// Bytes of files; files with holes are more than what the archive has of them.
    written: u64,
}

impl Filling<'_> {
    fn add<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), RootfsError> {
        let name = entry.path_bytes().into_owned();
        let hostile = |why| RootfsError::Hostile {
            layer: self.layer.diff_id.to_string(),
            entry: entry::shown(&name),
            why,
        };
        self.room.take_entry()?;
        let made = match entry::ask(&name).map_err(hostile)? {
            Ask::Ignore => return Ok(()),
            Ask::Hide(path) => self.tree.hide(&path),
            Ask::HideAllIn(path) => self.tree.hide_all_in(&path),
            Ask::Root if entry.header().entry_type().is_dir() => {
                let records = records(entry).map_err(|error| self.unreadable(&error))?;
                let facts = self.facts(entry, &records).map_err(|error| self.unreadable(&error))?;
                self.tree.describe_root(&facts)
            }
            Ask::Root => return Err(hostile("that takes the place of the root directory")),
            Ask::Make(path) => return self.make(entry, &path, hostile),
        };
        made.map_err(|error| self.failed(&name, error))
    }

    fn make<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        path: &Path,
        hostile: impl Fn(entry::Why) -> RootfsError,
    ) -> Result<(), RootfsError> {
        let records = records(entry).map_err(|error| self.unreadable(&error))?;
        let facts = self.facts(entry, &records).map_err(|error| self.unreadable(&error))?;
        let link = entry.link_name_bytes().map(Cow::into_owned);
        let target;
        let size = entry.size();
        let node = match entry.header().entry_type() {
            EntryType::Directory => Node::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.room.take_bytes(size)?;
                self.written = self.written.saturating_add(size);
                if self.written > self.layer.limit {
                    let what = format!("layer {}, unpacked,", self.layer.diff_id);
                    return Err(RootfsError::TooLarge { what, limit: self.layer.limit });
                }
                Node::File(entry)
            }
            EntryType::Symlink => {
                let link = link.filter(|link| !link.is_empty() && !link.contains(&0));
                let link = link.ok_or_else(|| hostile("that is a link to nothing"))?;
                target = std::os::unix::ffi::OsStringExt::from_vec(link);
                let target: &std::ffi::OsString = &target;
                Node::Symlink(Path::new(target))
            }
            EntryType::Link => {
                let link = link.ok_or_else(|| hostile("that is a link to nothing"))?;
                let inside = entry::relative(&link).map_err(&hostile)?;
                target = inside.into_os_string();
                Node::Hardlink(Path::new(&target))
            }
            EntryType::Fifo => Node::Pipe,
            // Devices of the machine are not an image's to give.
            EntryType::Char | EntryType::Block => return Ok(()),
            _ => return Err(hostile("of a kind that layers cannot have")),
        };
        let is_link = matches!(node, Node::Hardlink(_));
        match self.tree.make(path, node, &facts) {
            Ok(_) => Ok(()),
            Err(error) if is_link && error.kind() == io::ErrorKind::NotFound => {
                Err(hostile("that is another name of a file that is not there"))
            }
            Err(error) => Err(self.failed(path.as_os_str().as_encoded_bytes(), error)),
        }
    }

    fn facts<'r, R: Read>(
        &self,
        entry: &Entry<'_, R>,
        records: &'r [(String, Vec<u8>)],
    ) -> io::Result<Facts<'r>> {
        let header = entry.header();
        let owner = |id: u64| -> io::Result<u32> {
            let id = u32::try_from(id).ok().and_then(|id| id.checked_add(self.layer.shift));
            // The highest number means to leave the owner as it is.
            id.filter(|id| *id != u32::MAX).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "a file's owner has too high a number")
            })
        };
        let number = |key: &str| {
            let record = records.iter().rev().find(|(name, _)| name == key)?;
            std::str::from_utf8(&record.1).ok()
        };
        let uid =
            number("uid").and_then(|text| text.parse().ok()).map_or_else(|| header.uid(), Ok)?;
        let gid =
            number("gid").and_then(|text| text.parse().ok()).map_or_else(|| header.gid(), Ok)?;
        let whole = |text: &str| text.split('.').next().and_then(|text| text.parse::<i64>().ok());
        let modified = match number("mtime").and_then(whole) {
            Some(modified) => modified,
            None => i64::try_from(header.mtime()?).unwrap_or(0),
        };
        let kept = |(key, value): &'r (String, Vec<u8>)| xattrs::kept(key, value, self.layer.shift);
        Ok(Facts {
            uid: owner(uid)?,
            gid: owner(gid)?,
            mode: header.mode()? & 0o7777,
            modified,
            xattrs: records.iter().filter_map(kept).collect(),
        })
    }

    fn unreadable(&self, error: &io::Error) -> RootfsError {
        RootfsError::malformed(format!("layer {}", self.layer.diff_id), error)
    }

    fn failed(&self, name: &[u8], error: io::Error) -> RootfsError {
        match error.kind() {
            // The layer's contents end too early, or a path of it makes no sense on any disk.
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::InvalidFilename => RootfsError::malformed(
                format!("layer {}", self.layer.diff_id),
                format!("its entry `{}` cannot be made: {error}", entry::shown(name)),
            ),
            _ => RootfsError::files("fill", &self.target.join(entry::shown(name)))(error),
        }
    }
}

/// What an entry says in records of its own.
fn records<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<Vec<(String, Vec<u8>)>> {
    let Some(extensions) = entry.pax_extensions()? else { return Ok(Vec::new()) };
    let mut records = Vec::new();
    for extension in extensions {
        let extension = extension?;
        // Names that are no text are nobody's.
        if let Ok(key) = extension.key() {
            records.push((key.to_owned(), extension.value_bytes().to_vec()));
        }
    }
    Ok(records)
}

/// A reader that makes a digest of what goes through it; shared, since others own it.
struct Hashing<R> {
    inner: R,
    hasher: Rc<Cell<Option<Hasher>>>,
}

impl<R> Hashing<R> {
    fn new(inner: R, wanted: bool) -> Self {
        Self { inner, hasher: Rc::new(Cell::new(wanted.then(Hasher::default))) }
    }

    fn hasher(&self) -> Rc<Cell<Option<Hasher>>> {
        Rc::clone(&self.hasher)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(mut hasher) = self.hasher.take() {
            hasher.update(&buffer[..count]);
            self.hasher.set(Some(hasher));
        }
        Ok(count)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
