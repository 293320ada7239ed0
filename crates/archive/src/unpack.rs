//! Unpacking an archive.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::listing::{Entry, Listing, Node};
use crate::open::{Opened, open};
use crate::{ArchiveError, Bounds};

/// Unpacks `archive` into `target`, which is made and must not be there before. Files get the mode
/// 0755 or 0644, whatever else the archive says. What was written before an error stays.
///
/// # Errors
/// When the archive breaks a rule, or the disk refuses.
pub fn unpack(archive: &Path, target: &Path, bounds: Bounds) -> Result<(), ArchiveError> {
    let opened = File::open(archive).map_err(|error| ArchiveError::Archive(error.into()))?;
    let Opened { packed, mut archive, budget } = open(opened, bounds)?;
    budget.lift();
    make_directory(target)?;
    let mut room = Room { packed, limit: bounds.unpacked(packed), left: bounds.unpacked(packed) };
    let mut listing = Listing::new(bounds);
    for number in 0..archive.len() {
        let unreadable = |error| ArchiveError::Entry(number, error);
        // Checked before the entry is opened: that fails for an encrypted one, without its name.
        let (path, node, mode) = {
            let entry = archive.by_index_data(number).map_err(unreadable)?;
            let name = entry.name().map_err(unreadable)?;
            let mode = entry.unix_mode().unwrap_or(0);
            let is_dir = entry.is_dir();
            let encrypted = entry.encrypted();
            let (path, node) = listing.add(Entry { name: &name, mode, is_dir, encrypted })?;
            (target.join(path), node, mode)
        };
        match node {
            Node::Directory => make_directory(&path)?,
            Node::File => {
                if let Some(parent) = path.parent() {
                    make_directory(parent)?;
                }
                let mut entry = archive.by_index(number).map_err(unreadable)?;
                room.write(&mut entry, &path, mode)?;
            }
        }
    }
    Ok(())
}

fn make_directory(path: &Path) -> Result<(), ArchiveError> {
    fs::create_dir_all(path).map_err(|source| ArchiveError::Write { path: path.to_owned(), source })
}

/// Bytes that may still be written.
struct Room {
    packed: u64,
    limit: u64,
    left: u64,
}

impl Room {
    fn write(&mut self, entry: &mut impl Read, path: &Path, mode: u32) -> Result<(), ArchiveError> {
        let failed = |source: io::Error| match source.kind() {
            // Names that differ only in case are one file to some file systems.
            io::ErrorKind::AlreadyExists => ArchiveError::Twice(format!(
                "`{}`, which are the same file on this worker",
                path.file_name().unwrap_or_default().to_string_lossy()
            )),
            // A checksum that is wrong, or data that is none, comes from the archive.
            io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::UnexpectedEof => ArchiveError::Archive(source.into()),
            _ => ArchiveError::Write { path: path.to_owned(), source },
        };
        let executable = mode & 0o111 != 0;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(if executable { 0o755 } else { 0o644 });
        let mut file = options.open(path).map_err(failed)?;
        // One byte more than allowed is asked for, since an archive's own sizes can lie.
        let mut limited = entry.take(self.left.saturating_add(1));
        let written = io::copy(&mut limited, &mut file).map_err(failed)?;
        self.left = self
            .left
            .checked_sub(written)
            .ok_or(ArchiveError::Size { limit: self.limit, packed: self.packed })?;
        Ok(())
    }
}
