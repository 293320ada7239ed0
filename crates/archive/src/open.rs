//! Opening an archive without letting it decide how much memory that takes.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config};
use zip::result::ZipError;

use crate::budget::{Budget, Budgeted};
use crate::directory::claimed_entries;
use crate::{ArchiveError, Bounds};

/// Bytes that an archive's directory may have, with what is read to find it. Fits more entries
/// than are allowed, with names of usual length.
const DIRECTORY_BYTES: u64 = 64 * 1024 * 1024;

/// An archive whose directory has been read.
pub(crate) struct Opened<R> {
    /// Bytes of the archive itself.
    pub(crate) packed: u64,
    pub(crate) archive: ZipArchive<Budgeted<BufReader<R>>>,
    /// Covers the directory only, until it is lifted.
    pub(crate) budget: Budget,
}

/// Opens an archive whose directory has no more entries than allowed.
pub(crate) fn open<R: Read + Seek>(reader: R, bounds: Bounds) -> Result<Opened<R>, ArchiveError> {
    let unreadable = |error: io::Error| ArchiveError::Archive(ZipError::Io(error));
    let mut inner = BufReader::new(reader);
    let packed = inner.seek(SeekFrom::End(0)).map_err(unreadable)?;
    let found = claimed_entries(&mut inner).map_err(unreadable)?;
    let limit = bounds.entries;
    if found > limit as u64 {
        return Err(ArchiveError::Entries { found, limit });
    }
    // An archive begins at the file's beginning. To look for it elsewhere is how two readers come
    // to see two archives in one file.
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let budget = Budget::default();
    budget.limit(DIRECTORY_BYTES);
    let reader = Budgeted::new(inner, budget.clone(), "the archive's directory is too large");
    let archive = ZipArchive::with_config(config, reader).map_err(ArchiveError::Archive)?;
    if archive.has_duplicate_names() {
        return Err(ArchiveError::Twice("one name".to_owned()));
    }
    Ok(Opened { packed, archive, budget })
}
