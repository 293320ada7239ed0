//! An archive made of an earlier one and of what has changed since.

use std::collections::HashSet;
use std::io::{Read, Seek, Write};

use zip::ZipWriter;

use crate::open::{Opened, open};
use crate::{ArchiveError, Bounds};

/// What is read of an archive besides its bytes, once each: parts of it that are read again.
const READ_AGAIN: u64 = 1024 * 1024;

/// Writes the archive that has the entries of `base`, without those named in `removed`, and those
/// of `changes`, which go before entries of the same name. Contents are copied as they are packed
/// and not looked at: the result has to be looked through like any archive from outside.
///
/// # Errors
/// When one of the two cannot be read, or is more than it claims; or the result cannot be written.
pub fn merge<B, C, W>(
    base: B,
    changes: C,
    removed: &HashSet<String>,
    result: W,
    bounds: Bounds,
) -> Result<W, ArchiveError>
where
    B: Read + Seek,
    C: Read + Seek,
    W: Write + Seek,
{
    let mut writer = ZipWriter::new(result);
    let mut changes = open(changes, bounds)?;
    let mut gone = removed.clone();
    for number in 0..changes.archive.len() {
        let entry = changes.archive.by_index_data(number);
        let name = entry.and_then(|entry| entry.name().map(std::borrow::Cow::into_owned));
        gone.insert(name.map_err(|error| ArchiveError::Entry(number, error))?);
    }
    copy(&mut open(base, bounds)?, &mut writer, |name| !gone.contains(name))?;
    copy(&mut changes, &mut writer, |_| true)?;
    writer.finish().map_err(ArchiveError::Archive)
}

fn copy<R: Read + Seek, W: Write + Seek>(
    from: &mut Opened<R>,
    writer: &mut ZipWriter<W>,
    wanted: impl Fn(&str) -> bool,
) -> Result<(), ArchiveError> {
    // Entries that share their bytes would become more than the archive was: each byte is read once
    // for what it holds, and at most once more for where things are.
    from.budget.limit(from.packed.saturating_mul(2).saturating_add(READ_AGAIN));
    for number in 0..from.archive.len() {
        let unreadable = |error| ArchiveError::Entry(number, error);
        let name = {
            let entry = from.archive.by_index_data(number).map_err(unreadable)?;
            entry.name().map_err(unreadable)?.into_owned()
        };
        if wanted(&name) {
            let entry = from.archive.by_index_raw(number).map_err(unreadable)?;
            writer.raw_copy_file(entry).map_err(unreadable)?;
        }
    }
    Ok(())
}
