//! How many entries an archive says it has, found out before anything is allocated for them.

use std::io::{self, Read, Seek, SeekFrom};

/// `PK\5\6`, which begins the record at an archive's end.
const END: [u8; 4] = *b"PK\x05\x06";
/// `PK\6\7`, which begins the pointer to the large archive's record, just before that one.
const LOCATOR: [u8; 4] = *b"PK\x06\x07";
/// `PK\6\6`, which begins the large archive's record.
const LARGE_END: [u8; 4] = *b"PK\x06\x06";

const END_BYTES: usize = 22;
const LOCATOR_BYTES: usize = 20;
/// The end record may be followed by a comment of this length.
const LONGEST_COMMENT: u64 = 65_535;

/// The most entries that any record at the archive's end speaks of.
///
/// Only a large archive's record can speak of more than 65,535. Archives with several such records
/// exist to confuse readers, so the largest number counts.
pub(crate) fn claimed_entries(reader: &mut (impl Read + Seek)) -> io::Result<u64> {
    let len = reader.seek(SeekFrom::End(0))?;
    let wanted = (LOCATOR_BYTES + END_BYTES) as u64 + LONGEST_COMMENT;
    let start = len.saturating_sub(wanted);
    reader.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    reader.take(wanted).read_to_end(&mut tail)?;
    let mut most = 0;
    for at in 0..tail.len().saturating_sub(END_BYTES - 1) {
        if tail[at..at + 4] != END {
            continue;
        }
        most = most.max(u64::from(u16::from_le_bytes([tail[at + 10], tail[at + 11]])));
        let Some(locator) = at.checked_sub(LOCATOR_BYTES) else { continue };
        if tail[locator..locator + 4] == LOCATOR {
            let offset = number(&tail[locator + 8..]);
            most = most.max(large_entries(reader, offset)?);
        }
    }
    Ok(most)
}

/// The number of entries in a large archive's record; 0 where there is no such record.
fn large_entries(reader: &mut (impl Read + Seek), offset: u64) -> io::Result<u64> {
    let mut record = [0; 56];
    reader.seek(SeekFrom::Start(offset))?;
    match reader.read_exact(&mut record) {
        Ok(()) if record[..4] == LARGE_END => Ok(number(&record[24..]).max(number(&record[32..]))),
        Ok(()) => Ok(0),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        Err(error) => Err(error),
    }
}

fn number(bytes: &[u8]) -> u64 {
    let mut eight = [0; 8];
    for (to, from) in eight.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_le_bytes(eight)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn end(entries: u16) -> Vec<u8> {
        let mut record = END.to_vec();
        record.resize(END_BYTES, 0);
        record[10..12].copy_from_slice(&entries.to_le_bytes());
        record
    }

    #[test]
    fn a_large_archives_own_count_is_found_where_the_locator_points() {
        let mut bytes = LARGE_END.to_vec();
        bytes.resize(56, 0);
        bytes[32..40].copy_from_slice(&90_000_000_u64.to_le_bytes());
        bytes.extend(LOCATOR);
        bytes.resize(56 + LOCATOR_BYTES, 0);
        bytes.extend(end(u16::MAX));
        assert_eq!(claimed_entries(&mut Cursor::new(&bytes)).unwrap(), 90_000_000);
        // A locator that points nowhere is the reader's trouble, not ours.
        bytes[56 + 8..56 + 16].copy_from_slice(&u64::from(u32::MAX).to_le_bytes());
        assert_eq!(claimed_entries(&mut Cursor::new(&bytes)).unwrap(), 65_535);
    }

    #[test]
    fn what_is_no_archive_claims_nothing() {
        assert_eq!(claimed_entries(&mut Cursor::new(b"")).unwrap(), 0);
        assert_eq!(claimed_entries(&mut Cursor::new(b"PK\x05\x06")).unwrap(), 0);
        assert_eq!(claimed_entries(&mut Cursor::new(end(7))).unwrap(), 7);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..100) {
            if at + 4 <= bytes.len() {
                bytes[at..at + 4].copy_from_slice(&LOCATOR);
            }
            bytes.extend(end(1));
            let _ = claimed_entries(&mut Cursor::new(&bytes));
        }
    }
}
