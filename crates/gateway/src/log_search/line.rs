//! Lines, made of the pieces in which output comes.

use metal9_store::{LogPiece, LogStream, UnixMicros};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Source, Wish};
use crate::timestamps::to_rfc3339;

/// A line that never ends is told in parts of this many bytes.
const LONGEST: usize = 64 * 1024;

/// A line of a task's output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    /// When its end was written.
    pub(crate) at: UnixMicros,
    stream: LogStream,
    text: String,
    task: String,
    container: String,
    stub: String,
}

impl Line {
    /// As the SDK reads it.
    pub(crate) fn told(self) -> LogLine {
        let Self { at, stream, text, task, container, stub } = self;
        let stream = match stream {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
            LogStream::System => "system",
        };
        LogLine {
            timestamp: to_rfc3339(at),
            message: text,
            stream,
            task_id: task,
            container_id: container,
            stub_id: stub,
        }
    }
}

/// A line of output as the SDK reads it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogLine {
    /// When its end was written.
    timestamp: String,
    message: String,
    /// `stdout`, `stderr` or `system`.
    stream: &'static str,
    task_id: String,
    /// Empty if there was none yet.
    container_id: String,
    stub_id: String,
}

/// `true` if a line is among those wished for.
pub(crate) fn wanted(line: &Line, wish: &Wish) -> bool {
    wish.since.is_none_or(|since| line.at >= since)
        && wish.until.is_none_or(|until| line.at < until)
        && (wish.text.is_empty() || line.text.to_lowercase().contains(&wish.text.to_lowercase()))
}

/// Makes lines of one task's pieces. What comes from one stream is not mixed with another's.
pub(crate) struct Splitter {
    task: String,
    container: String,
    stub: String,
    /// Of each stream, what has no end yet.
    open: Vec<(LogStream, String, UnixMicros)>,
}

impl Splitter {
    pub(crate) fn new(source: &Source) -> Self {
        let Source { task, container, stub, .. } = source.clone();
        Self { task, container, stub, open: Vec::new() }
    }

    /// The lines that end in a piece.
    pub(crate) fn add(&mut self, piece: LogPiece) -> Vec<Line> {
        let LogPiece { at, stream, text, .. } = piece;
        let place = self.open.iter().position(|(open, ..)| *open == stream);
        let before = place.map(|place| self.open.remove(place).1).unwrap_or_default();
        let mut rest = before + &text;
        let mut lines = Vec::new();
        loop {
            let end = match rest.find('\n') {
                Some(end) if end < LONGEST => end + 1,
                _ if rest.len() > LONGEST => rest.floor_char_boundary(LONGEST),
                _ => break,
            };
            let after = rest.split_off(end);
            lines.push(self.line(at, stream, rest));
            rest = after;
        }
        if !rest.is_empty() {
            self.open.push((stream, rest, at));
        }
        lines
    }

    /// What has no end, at the end.
    pub(crate) fn rest(&mut self) -> Vec<Line> {
        let open = std::mem::take(&mut self.open);
        open.into_iter().map(|(stream, text, at)| self.line(at, stream, text)).collect()
    }

    fn line(&self, at: UnixMicros, stream: LogStream, text: String) -> Line {
        let (task, container, stub) =
            (self.task.clone(), self.container.clone(), self.stub.clone());
        Line { at, stream, text, task, container, stub }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splitter() -> Splitter {
        Splitter { task: "t".into(), container: "c".into(), stub: "s".into(), open: Vec::new() }
    }

    fn piece(at: UnixMicros, stream: LogStream, text: &str) -> LogPiece {
        LogPiece { at, stream, text: text.into(), end_offset: 0 }
    }

    fn told(lines: &[Line]) -> Vec<(UnixMicros, &str)> {
        lines.iter().map(|line| (line.at, &*line.text)).collect()
    }

    #[test]
    fn lines_are_whole_whatever_pieces_they_come_in() {
        let mut splitter = splitter();
        assert_eq!(told(&splitter.add(piece(1, LogStream::Stdout, "a\nb"))), [(1, "a\n")]);
        assert_eq!(told(&splitter.add(piece(2, LogStream::Stderr, "oh\n"))), [(2, "oh\n")]);
        let lines = splitter.add(piece(3, LogStream::Stdout, "c\n\nd"));
        assert_eq!(told(&lines), [(3, "bc\n"), (3, "\n")]);
        assert_eq!(told(&splitter.rest()), [(3, "d")]);
        assert_eq!(told(&splitter.rest()), []);
    }

    #[test]
    fn a_line_without_an_end_is_told_in_parts() {
        let mut splitter = splitter();
        let long = "ä".repeat(LONGEST);
        let lines = splitter.add(piece(1, LogStream::Stdout, &long));
        let sum: usize = lines.iter().map(|line| line.text.len()).sum();
        let rest: usize = splitter.rest().iter().map(|line| line.text.len()).sum();
        assert_eq!(sum + rest, long.len());
        assert!(lines.iter().all(|line| line.text.len() <= LONGEST));
    }

    #[test]
    fn a_wish_is_for_times_and_text() {
        let mut splitter = splitter();
        let [line] = splitter.add(piece(5, LogStream::Stdout, "Hello\n")).try_into().unwrap();
        let wish = |since, until, text: &str| Wish { since, until, text: text.into() };
        assert!(wanted(&line, &wish(None, None, "")));
        assert!(wanted(&line, &wish(Some(5), Some(6), "hELL")));
        assert!(!wanted(&line, &wish(Some(6), None, "")));
        assert!(!wanted(&line, &wish(None, Some(5), "")));
        assert!(!wanted(&line, &wish(None, None, "bye")));
    }
}
