//! What is said to a person, on stderr.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;

/// Says one line.
pub(crate) fn say(text: impl Display) {
    // A person who has closed stderr does not want to hear it.
    let _ = writeln!(stderr(), "{text}");
}

/// Shows why a command failed.
pub(crate) fn failure(failure: &Failure) {
    let _ = write!(stderr(), "{failure}");
}

/// Shows that something takes its time; gone when dropped.
pub(crate) struct Spinner {
    bar: ProgressBar,
}

impl Spinner {
    /// Shows `what` until dropped, if a person is looking.
    pub(crate) fn start(what: &'static str) -> Self {
        let bar = if stderr().is_terminal() {
            ProgressBar::new_spinner().with_message(what)
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar }
    }

    /// Shows something else.
    pub(crate) fn now(&self, what: &'static str) {
        self.bar.set_message(what);
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
