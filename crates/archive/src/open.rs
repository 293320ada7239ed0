//! Opening an archive without letting it decide how much memory that takes.

use std::cell::Cell;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::rc::Rc;

use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config};
use zip::result::ZipError;

use crate::directory::claimed_entries;
use crate::{ArchiveError, Bounds};

/// Bytes that an archive's directory may have, with what is read to find it. Fits more entries
/// than are allowed, with names of usual length.
const DIRECTORY_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes that may still be read; shared, since the archive owns its reader.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Rc<Cell<Option<u64>>>);

impl Budget {
    /// Lets everything be read from now on.
    pub(crate) fn lift(&self) {
        self.0.set(None);
    }
}

/// A reader that gives up when its budget is spent.
#[derive(Debug)]
pub(crate) struct Budgeted<R> {
    inner: R,
    budget: Budget,
}

impl<R: Read> Read for Budgeted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(left) = self.budget.0.get() {
            let left = left
                .checked_sub(count as u64)
                .ok_or_else(|| io::Error::other("the archive's directory is too large"))?;
            self.budget.0.set(Some(left));
        }
        Ok(count)
    }
}

impl<R: Seek> Seek for Budgeted<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

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
    let budget = Budget(Rc::new(Cell::new(Some(DIRECTORY_BYTES))));
    let reader = Budgeted { inner, budget: budget.clone() };
    let archive = ZipArchive::with_config(config, reader).map_err(ArchiveError::Archive)?;
    if archive.has_duplicate_names() {
        return Err(ArchiveError::Twice("one name".to_owned()));
    }
    Ok(Opened { packed, archive, budget })
}
