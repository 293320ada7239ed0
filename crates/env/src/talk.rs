//! What of uv's talk reaches a person.

use crate::{EnvError, Progress};

/// Beginnings of lines that tell a person nothing.
const DULL: &[&str] = &[
    "Using ",
    "Creating virtual environment",
    "Activate with",
    "+ ",
    "- ",
    "Downloaded ",
    "Built ",
];
/// What uv says when it cannot reach an index.
const OFFLINE: &[&str] = &[
    "dns error",
    "tcp connect error",
    "Network connectivity is disabled",
    "network was disabled",
    "failed to lookup address",
    "operation timed out",
    "Could not resolve host",
];

/// Passes uv's lines on and keeps its complaint apart.
pub(crate) struct Talk<'a> {
    progress: &'a Progress,
    complaint: bool,
}

impl<'a> Talk<'a> {
    pub(crate) fn new(progress: &'a Progress) -> Self {
        Self { progress, complaint: false }
    }

    /// Takes one line. A complaint is not passed on, since it is the error's text.
    pub(crate) fn hear(&mut self, line: &str) {
        self.complaint |= begins_complaint(line);
        let line = line.trim();
        if !self.complaint && !DULL.iter().any(|dull| line.starts_with(dull)) {
            (self.progress)(&format!("{line}\n"));
        }
    }

    /// The error for what uv said last.
    pub(crate) fn failure(&self, tail: &str, other: impl FnOnce(String) -> EnvError) -> EnvError {
        let lines: Vec<_> = tail.lines().collect();
        let start = lines.iter().position(|line| begins_complaint(line)).unwrap_or(0);
        let output = lines[start..].join("\n");
        if OFFLINE.iter().any(|sign| output.contains(sign)) {
            EnvError::Offline { output }
        } else {
            other(output)
        }
    }
}

/// uv marks the beginning of what went wrong by a word, older ones by a cross.
fn begins_complaint(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("error:") || line.starts_with('×')
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn hear(lines: &[&str]) -> String {
        let heard = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&heard);
        let progress: Progress = Arc::new(move |line| sink.lock().unwrap().push_str(line));
        let mut talk = Talk::new(&progress);
        lines.iter().for_each(|line| talk.hear(line));
        drop(progress);
        Arc::into_inner(heard).unwrap().into_inner().unwrap()
    }

    #[test]
    fn a_person_reads_the_steps_and_not_every_package() {
        let lines = [
            "Using Python 3.11.2 environment at: e1",
            "Resolved 55 packages in 565ms",
            "Downloading grpcio (7.0MiB)",
            " Downloaded grpcio",
            "Installed 55 packages in 68ms",
            " + six==1.16.0",
        ];
        assert_eq!(
            hear(&lines),
            "Resolved 55 packages in 565ms\n\
             Downloading grpcio (7.0MiB)\n\
             Installed 55 packages in 68ms\n"
        );
    }

    #[test]
    fn a_complaint_is_told_once_as_the_error() {
        let lines = ["warning: odd", "error: No solution found", "  cause: nosuch was not found"];
        assert_eq!(hear(&lines), "warning: odd\n");
        let progress: Progress = Arc::new(|_| ());
        let error = Talk::new(&progress)
            .failure(&lines.join("\n"), |output| EnvError::Unresolvable { output });
        assert_eq!(
            error.to_string(),
            "the python packages could not be resolved:\n\
             error: No solution found\n  cause: nosuch was not found"
        );
    }

    #[test]
    fn an_unreachable_index_is_told_apart_and_has_a_hint() {
        let progress: Progress = Arc::new(|_| ());
        let tail = "error: Request failed\n  cause: tcp connect error\n  cause: refused";
        let error = Talk::new(&progress).failure(tail, |output| EnvError::Build { output });
        assert!(matches!(error, EnvError::Offline { .. }), "{error}");
        assert!(error.hint().is_some());
    }
}
