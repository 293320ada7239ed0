//! What an archive holds, in one hash: whatever way it was packed, the same files have the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Seek};

use sha2::{Digest, Sha256};
use zip::result::ZipError;

use crate::open::{Opened, open};
use crate::{ArchiveError, Bounds, inspect};

/// Bytes read from a file at a time.
const CHUNK: usize = 64 * 1024;
/// What of a mode is a file's own: who may do what with it.
const PERMISSIONS: u32 = 0o777;

/// The SHA-256, in hex, of the list of an archive's files, in the order of their names: for each
/// its name, a NUL, the SHA-256 of its content, a NUL, its permissions in octal and a line feed.
/// Looks the archive through as [`inspect`] does, and reads all of the files then.
///
/// # Errors
/// When a worker would refuse it.
pub fn content_hash<R: Read + Seek>(mut reader: R, bounds: Bounds) -> Result<String, ArchiveError> {
    inspect(&mut reader, bounds)?;
    let Opened { packed, mut archive, budget } = open(reader, bounds)?;
    budget.lift();
    let limit = bounds.unpacked(packed);
    let mut left = limit;
    let mut files = BTreeMap::new();
    let mut buffer = vec![0; CHUNK];
    for number in 0..archive.len() {
        let unreadable = |error| ArchiveError::Entry(number, error);
        let (name, mode) = {
            let entry = archive.by_index_data(number).map_err(unreadable)?;
            if entry.is_dir() {
                continue;
            }
            (entry.name().map_err(unreadable)?.into_owned(), entry.unix_mode().unwrap_or(0))
        };
        let mut entry = archive.by_index(number).map_err(unreadable)?;
        let mut hash = Sha256::new();
        loop {
            let count = entry.read(&mut buffer).map_err(|e| unreadable(ZipError::Io(e)))?;
            if count == 0 {
                break;
            }
            // Counted as it comes: an archive's own sizes can lie.
            left = left.checked_sub(count as u64).ok_or(ArchiveError::Size { limit, packed })?;
            hash.update(&buffer[..count]);
        }
        files.insert(name, (hex(&hash.finalize()), mode & PERMISSIONS));
    }
    let mut all = Sha256::new();
    for (name, (content, mode)) in &files {
        all.update(format!("{name}\0{content}\0{mode:o}\n"));
    }
    Ok(hex(&all.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
