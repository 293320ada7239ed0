//! Looking through an archive without unpacking it.

use std::io::{Read, Seek};

use crate::listing::{Entry, Listing};
use crate::open::{Opened, open};
use crate::{ArchiveError, Bounds};

/// What an archive says it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Entries of its directory.
    pub entries: usize,
    /// Bytes of all files, as the archive says.
    pub bytes: u64,
}

/// Looks through an archive's directory; reads none of its files.
///
/// # Errors
/// When a worker would refuse it, as far as the directory tells.
pub fn inspect<R: Read + Seek>(reader: R, bounds: Bounds) -> Result<Summary, ArchiveError> {
    let Opened { packed, archive, .. } = open(reader, bounds)?;
    let limit = bounds.unpacked(packed);
    let mut listing = Listing::new(bounds);
    let mut bytes: u64 = 0;
    for number in 0..archive.len() {
        let unreadable = |error| ArchiveError::Entry(number, error);
        let entry = archive.by_index_data(number).map_err(unreadable)?;
        let name = entry.name().map_err(unreadable)?;
        listing.add(Entry {
            name: &name,
            mode: entry.unix_mode().unwrap_or(0),
            is_dir: entry.is_dir(),
            encrypted: entry.encrypted(),
        })?;
        bytes = bytes.saturating_add(entry.size());
        if bytes > limit {
            return Err(ArchiveError::Size { limit, packed });
        }
    }
    Ok(Summary { entries: archive.len(), bytes })
}
