//! Layers are packed in several ways; which one their first bytes say.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The lowest of 16 numbers that begin a zstd frame which is to be skipped.
const SKIPPED: u32 = 0x184d_2a50;

/// Large enough to see any of the numbers above.
const BUFFER_BYTES: usize = 64 * 1024;

/// What a packed or plain stream unpacks to.
///
/// # Errors
/// When its first bytes cannot be read.
pub(crate) fn unpacked<'a>(packed: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut packed = BufReader::with_capacity(BUFFER_BYTES, Whole(packed));
    let first = packed.fill_buf()?;
    if first.starts_with(&GZIP) {
        return Ok(Box::new(MultiGzDecoder::new(packed)));
    }
    let frame = number(first).is_some_and(|number| number & !0xf == SKIPPED);
    if first.starts_with(&ZSTD) || frame {
        return Ok(Box::new(Frames { now: Some(Now::Between(packed)) }));
    }
    Ok(Box::new(packed))
}

/// A reader that fills what it is given, so that a buffer begins with more than one byte.
struct Whole<R>(R);

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|four| u32::from_le_bytes(*four))
}

/// All frames of a zstd stream: the decoder knows one only, and tools write many.
struct Frames<R: BufRead> {
    /// Nothing only after an error.
    now: Option<Now<R>>,
}

/// A stream whose first bytes have been read already.
type Begun<R> = Chain<Cursor<[u8; 4]>, R>;

enum Now<R: BufRead> {
    Between(R),
    /// What was read to see that a frame begins is read again.
    Within(Box<StreamingDecoder<Begun<R>, FrameDecoder>>),
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.now.take() {
                None => return Err(invalid("it was not readable before")),
                Some(Now::Within(mut frame)) => {
                    let count = frame.read(buffer)?;
                    self.now = Some(match count {
                        0 => Now::Between(frame.into_inner().into_inner().1),
                        _ => Now::Within(frame),
                    });
                    if count > 0 {
                        return Ok(count);
                    }
                }
                Some(Now::Between(mut source)) => {
                    if source.fill_buf()?.is_empty() {
                        self.now = Some(Now::Between(source));
                        return Ok(0);
                    }
                    let mut four = [0; 4];
                    source.read_exact(&mut four)?;
                    self.now = Some(if u32::from_le_bytes(four) & !0xf == SKIPPED {
                        source.read_exact(&mut four)?;
                        let length = u64::from(u32::from_le_bytes(four));
                        io::copy(&mut source.by_ref().take(length), &mut io::sink())?;
                        Now::Between(source)
                    } else {
                        let frame = StreamingDecoder::new(Cursor::new(four).chain(source));
                        Now::Within(Box::new(frame.map_err(|error| invalid(&error.to_string()))?))
                    });
                }
            }
        }
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn all(packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        unpacked(packed)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn what_is_not_packed_stays_as_it_is() {
        assert_eq!(all(b"").unwrap(), b"");
        assert_eq!(all(b"plain").unwrap(), b"plain");
    }

    #[test]
    fn a_packed_stream_of_several_parts_is_one() {
        let mut packed = Vec::new();
        for part in ["one", "two"] {
            let mut encoder = flate2::write::GzEncoder::new(&mut packed, Default::default());
            encoder.write_all(part.as_bytes()).unwrap();
        }
        assert_eq!(all(&packed).unwrap(), b"onetwo");

        let skipped = [&(SKIPPED + 3).to_le_bytes()[..], &5_u32.to_le_bytes(), b"12345"].concat();
        // The second frame begins within the last bytes of a buffer, so that it is read in pieces.
        let long: Vec<u8> = (0..BUFFER_BYTES * 3).map(|at| (at * at % 251) as u8).collect();
        let packed = [skipped.clone(), zstd(&long), skipped, zstd(b"two")].concat();
        assert_eq!(all(&packed).unwrap(), [&long[..], b"two"].concat());
    }

    #[test]
    fn what_is_cut_or_spoilt_is_an_error() {
        let packed = zstd(&[7; 1000]);
        assert!(all(&packed[..packed.len() - 3]).is_err());
        assert!(all(&[&packed[..], b"more"].concat()).is_err());
    }
}
