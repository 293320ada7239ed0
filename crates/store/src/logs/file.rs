//! The log of one task.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use metal9_types::AttemptId;

use super::record::{self, HEADER, Source};
use super::{Appended, LogPiece, LogStream};

/// Text between two marks. A read begins at a mark.
const MARK_EVERY: u64 = 64 * 1024;

/// What metal9 itself may say in a log that is at its limit.
const SYSTEM_RESERVE: u64 = 1 << 20;

/// A task's file and what is known of it.
#[derive(Debug)]
pub(super) struct TaskLog {
    path: PathBuf,
    state: Option<State>,
}

#[derive(Debug, Default)]
struct State {
    file_len: u64,
    text_len: u64,
    ends_with_newline: bool,
    at_limit: bool,
    last: HashMap<AttemptId, u64>,
    /// Where records begin, some of them, in order.
    marks: Vec<Mark>,
}

#[derive(Clone, Copy, Default, Debug)]
struct Mark {
    text: u64,
    file: u64,
}

impl State {
    fn add(&mut self, attempt: AttemptId, sequence: u64, source: Source, text: &[u8]) {
        if self.marks.last().is_none_or(|mark| self.text_len - mark.text >= MARK_EVERY) {
            self.marks.push(Mark { text: self.text_len, file: self.file_len });
        }
        self.file_len += (HEADER + text.len()) as u64;
        self.text_len += text.len() as u64;
        if let Some(last) = text.last() {
            self.ends_with_newline = *last == b'\n';
        }
        self.at_limit |= source == Source::Limit;
        self.saw(attempt, sequence);
    }

    fn saw(&mut self, attempt: AttemptId, sequence: u64) {
        if sequence > 0 {
            self.last.insert(attempt, sequence);
        }
    }

    /// What has to come before a line of metal9's own, for it to be one: a job may be in the middle
    /// of its own line.
    fn line_break(&self) -> &'static str {
        if self.ends_with_newline || self.text_len == 0 { "" } else { "\n" }
    }

    fn last_of(&self, attempt: AttemptId) -> u64 {
        self.last.get(&attempt).copied().unwrap_or(0)
    }
}

impl TaskLog {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, state: None }
    }

    pub(super) fn text_len(&mut self) -> io::Result<u64> {
        Ok(self.state()?.text_len)
    }

    pub(super) fn last_sequence(&mut self, attempt: AttemptId) -> io::Result<u64> {
        Ok(self.state()?.last_of(attempt))
    }

    /// Adds an encoded record, unless it is there already or the log is at its limit.
    pub(super) fn append(
        &mut self,
        attempt: AttemptId,
        sequence: u64,
        stream: LogStream,
        record: &[u8],
        limit: u64,
    ) -> io::Result<Appended> {
        let state = self.state()?;
        if sequence > 0 && sequence <= state.last_of(attempt) {
            return Ok(Appended::Duplicate);
        }
        let text = record::text_of(record);
        let own_line = match (stream, state.line_break()) {
            (LogStream::System, line_break) if !line_break.is_empty() => {
                let line = [line_break.as_bytes(), text].concat();
                let line = String::from_utf8_lossy(&line);
                Some(record::encode(attempt, sequence, stream.into(), &line)?)
            }
            _ => None,
        };
        let record = own_line.as_deref().unwrap_or(record);
        let end = state.text_len + record::text_of(record).len() as u64;
        let fits = match stream {
            LogStream::System => end <= limit + SYSTEM_RESERVE,
            LogStream::Stdout | LogStream::Stderr => !state.at_limit && end <= limit,
        };
        if fits {
            self.write(attempt, sequence, stream.into(), record)?;
            return Ok(Appended::Written { end_offset: self.state()?.text_len });
        }
        if !state.at_limit {
            let notice = format!(
                "{}output limit of {} MiB reached; the rest is not kept\n",
                state.line_break(),
                limit >> 20
            );
            let record = record::encode(attempt, sequence, Source::Limit, &notice)?;
            self.write(attempt, sequence, Source::Limit, &record)?;
        }
        let state = self.state()?;
        state.saw(attempt, sequence);
        Ok(Appended::Truncated { end_offset: state.text_len })
    }

    /// What is needed to read from an offset on without holding up who appends; nothing at or
    /// behind the end.
    pub(super) fn prepare_read(&mut self, text_offset: u64) -> io::Result<Option<Reading>> {
        let path = self.path.clone();
        let state = self.state()?;
        if text_offset >= state.text_len {
            return Ok(None);
        }
        let after = state.marks.partition_point(|mark| mark.text <= text_offset);
        let mark = after.checked_sub(1).and_then(|at| state.marks.get(at)).copied();
        let mark = mark.unwrap_or_default();
        Ok(Some(Reading { path, mark, from: text_offset, end: state.text_len }))
    }

    fn write(
        &mut self,
        attempt: AttemptId,
        sequence: u64,
        source: Source,
        record: &[u8],
    ) -> io::Result<()> {
        let at = self.state()?.file_len;
        let file = open_to_write(&self.path)?;
        if let Err(error) = file.write_all_at(record, at) {
            // Half a record must not stay; if it cannot be cut off now, it is found by the scan.
            let _ = file.set_len(at);
            self.state = None;
            return Err(error);
        }
        self.state()?.add(attempt, sequence, source, record::text_of(record));
        Ok(())
    }

    fn state(&mut self) -> io::Result<&mut State> {
        let state = match self.state.take() {
            Some(state) => state,
            None => scan(&self.path)?,
        };
        Ok(self.state.insert(state))
    }
}

/// Reads the whole file and cuts off what is not a whole record.
fn scan(path: &Path) -> io::Result<State> {
    let mut state = State::default();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(state),
        Err(error) => return Err(error),
    };
    let len = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(MARK_EVERY as usize, file);
    let mut text = Vec::new();
    while let Some(header) = record::next(&mut reader, &mut text)? {
        state.add(header.attempt, header.sequence, header.source, &text);
    }
    if state.file_len < len {
        tracing::warn!(
            path = %path.display(),
            bytes = len - state.file_len,
            "cut off the unfinished end of a log"
        );
        OpenOptions::new().write(true).open(path)?.set_len(state.file_len)?;
    }
    Ok(state)
}

fn open_to_write(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(shelf) = path.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(shelf)?;
            }
            options.open(path)
        }
        opened => opened,
    }
}

/// A piece of a log to be read: what is before `end` never changes.
#[derive(Debug)]
pub(super) struct Reading {
    path: PathBuf,
    mark: Mark,
    from: u64,
    end: u64,
}

impl Reading {
    /// At most `max_bytes` of text, ending with a whole character.
    pub(super) fn read(&self, max_bytes: usize) -> io::Result<String> {
        const LONGEST_CHARACTER: usize = 4;
        let wanted = usize::try_from(self.end - self.from)
            .unwrap_or(usize::MAX)
            .min(max_bytes.max(LONGEST_CHARACTER));
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.mark.file))?;
        let mut reader = BufReader::with_capacity(MARK_EVERY as usize, file);
        let mut at = self.mark.text;
        let mut text = Vec::with_capacity(wanted);
        while text.len() < wanted {
            let mut bytes = [0; HEADER];
            reader.read_exact(&mut bytes)?;
            let header = record::decode(&bytes).ok_or_else(|| self.damaged())?;
            let len = u64::from(header.len);
            let skipped = self.from.saturating_sub(at).min(len);
            reader.seek_relative(skipped.cast_signed())?;
            let taken = (len - skipped).min((wanted - text.len()) as u64);
            let read = (&mut reader).take(taken).read_to_end(&mut text)?;
            if read as u64 != taken {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            at += len;
        }
        self.whole_characters(text)
    }

    /// Pieces with when and where each was written, until they have `max_bytes` of text or more.
    pub(super) fn pieces(&self, max_bytes: usize) -> io::Result<Vec<LogPiece>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.mark.file))?;
        let mut reader = BufReader::with_capacity(MARK_EVERY as usize, file);
        let (mut at, mut taken) = (self.mark.text, 0);
        let mut pieces = Vec::new();
        let mut text = Vec::new();
        while at < self.end && taken < max_bytes {
            let Some(header) = record::next(&mut reader, &mut text)? else {
                return Err(self.damaged());
            };
            let start = at;
            at += u64::from(header.len);
            if at <= self.from {
                continue;
            }
            let whole = std::str::from_utf8(&text).map_err(|_| self.damaged())?;
            let skipped = usize::try_from(self.from.saturating_sub(start)).unwrap_or(usize::MAX);
            let text = whole.get(skipped..).unwrap_or_default().to_owned();
            taken += text.len();
            pieces.push(LogPiece {
                at: header.at,
                stream: header.source.stream(),
                text,
                end_offset: at,
            });
        }
        Ok(pieces)
    }

    fn whole_characters(&self, text: Vec<u8>) -> io::Result<String> {
        String::from_utf8(text).or_else(|error| {
            let good = error.utf8_error().valid_up_to();
            let cut_at_the_end = error.utf8_error().error_len().is_none();
            let mut text = error.into_bytes();
            if cut_at_the_end && good > 0 {
                text.truncate(good);
                return String::from_utf8(text).map_err(|_| self.damaged());
            }
            let message = format!("offset {} of the log is inside a character", self.from);
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        })
    }

    fn damaged(&self) -> io::Error {
        let message = format!("log `{}` is damaged", self.path.display());
        io::Error::new(io::ErrorKind::InvalidData, message)
    }
}
