//! One record of a log: a header and a text.
//!
//! Numbers are little endian: magic (4 bytes), checksum (4), attempt (8), sequence (8), length of
//! the text (4), source (1), Unix microseconds (8), text.

use std::io::{self, Read};

use metal9_types::AttemptId;

use super::LogStream;
use crate::UnixMicros;
use crate::clock::now;

pub(super) const HEADER: usize = 37;

/// Bytes of text in one record at most.
pub(super) const LONGEST: usize = 16 << 20;

const MAGIC: [u8; 4] = *b"m9l2";

/// Where a record's text came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Stdout,
    Stderr,
    System,
    /// The line that says that the rest is not kept.
    Limit,
}

impl From<LogStream> for Source {
    fn from(stream: LogStream) -> Self {
        match stream {
            LogStream::Stdout => Self::Stdout,
            LogStream::Stderr => Self::Stderr,
            LogStream::System => Self::System,
        }
    }
}

impl Source {
    const ALL: [Self; 4] = [Self::Stdout, Self::Stderr, Self::System, Self::Limit];

    /// The stream that readers are told of.
    pub(super) fn stream(self) -> LogStream {
        match self {
            Self::Stdout => LogStream::Stdout,
            Self::Stderr => LogStream::Stderr,
            Self::System | Self::Limit => LogStream::System,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
            Self::System => 3,
            Self::Limit => 4,
        }
    }
}

pub(super) struct Header {
    checksum: u32,
    pub(super) attempt: AttemptId,
    pub(super) sequence: u64,
    pub(super) len: u32,
    pub(super) source: Source,
    /// When it was written.
    pub(super) at: UnixMicros,
}

/// A record's bytes.
pub(super) fn encode(
    attempt: AttemptId,
    sequence: u64,
    source: Source,
    text: &str,
) -> io::Result<Vec<u8>> {
    let len =
        u32::try_from(text.len()).ok().filter(|_| text.len() <= LONGEST).ok_or_else(|| {
            let message =
                format!("a piece of output has {} bytes: expected at most 16 MiB", text.len());
            io::Error::new(io::ErrorKind::InvalidInput, message)
        })?;
    let mut record = Vec::with_capacity(HEADER + text.len());
    record.extend_from_slice(&MAGIC);
    record.extend_from_slice(&[0; 4]);
    record.extend_from_slice(&attempt.0.to_le_bytes());
    record.extend_from_slice(&sequence.to_le_bytes());
    record.extend_from_slice(&len.to_le_bytes());
    record.push(source.code());
    record.extend_from_slice(&now().to_le_bytes());
    record.extend_from_slice(text.as_bytes());
    let checksum = checksum(&[&record[8..]]);
    record[4..8].copy_from_slice(&checksum.to_le_bytes());
    Ok(record)
}

/// The text of an encoded record.
pub(super) fn text_of(record: &[u8]) -> &[u8] {
    record.get(HEADER..).unwrap_or_default()
}

/// The header these bytes are; nothing if they are none.
pub(super) fn decode(bytes: &[u8; HEADER]) -> Option<Header> {
    let mut rest = &bytes[..];
    if take::<4>(&mut rest)? != MAGIC {
        return None;
    }
    let checksum = u32::from_le_bytes(take(&mut rest)?);
    let attempt = AttemptId(u64::from_le_bytes(take(&mut rest)?));
    let sequence = u64::from_le_bytes(take(&mut rest)?);
    let len = u32::from_le_bytes(take(&mut rest)?);
    let [code] = take(&mut rest)?;
    let source = Source::ALL.into_iter().find(|source| source.code() == code)?;
    let at = UnixMicros::from_le_bytes(take(&mut rest)?);
    (len as usize <= LONGEST).then_some(Header { checksum, attempt, sequence, len, source, at })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

/// Reads the next record, its text into `text`; nothing at the end of the file and where the rest
/// of it is not a whole record.
pub(super) fn next(reader: &mut impl Read, text: &mut Vec<u8>) -> io::Result<Option<Header>> {
    let mut bytes = [0; HEADER];
    if !fill(reader, &mut bytes)? {
        return Ok(None);
    }
    let Some(header) = decode(&bytes) else { return Ok(None) };
    text.resize(header.len as usize, 0);
    if !fill(reader, text)? {
        return Ok(None);
    }
    let whole = checksum(&[&bytes[8..], text]) == header.checksum;
    Ok((whole && std::str::from_utf8(text).is_ok()).then_some(header))
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// FNV-1a: the file is not to be protected from anybody, only half a record is to be recognised.
fn checksum(parts: &[&[u8]]) -> u32 {
    parts
        .iter()
        .copied()
        .flatten()
        .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
