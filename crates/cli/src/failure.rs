//! Why a command failed, whose doing it is, and what to do about it.

use std::fmt;
use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All went well.
    Done,
    /// What the user asked for could not be done.
    Request,
    /// The command line or the configuration is wrong.
    Usage,
    /// The fault is ours, or this machine's.
    Ours,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Request => 1,
            Exit::Usage => 2,
            // EX_SOFTWARE of sysexits.h.
            Exit::Ours => 70,
        })
    }
}

/// A command's failure, as it is shown.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    error: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    /// What was asked for cannot be done.
    pub(crate) fn request(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Request, error: error.into(), hint: None }
    }

    /// It was asked for wrongly.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Usage, error: error.into(), hint: None }
    }

    /// The fault is ours.
    pub(crate) fn ours(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Ours, error: error.into(), hint: None }
    }

    /// The same with a layer on top that says what was being done.
    pub(crate) fn context(self, what: impl fmt::Display + Send + Sync + 'static) -> Self {
        Self { error: self.error.context(what), ..self }
    }

    /// The same with advice.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.error)?;
        for cause in self.error.chain().skip(1) {
            writeln!(f, "  caused by: {cause}")?;
        }
        match &self.hint {
            Some(hint) => writeln!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_failure_shows_its_causes_and_its_hint() {
        let cause = anyhow!(io::Error::other("disk on fire")).context("cannot write `x`");
        let failure = Failure::request(cause).context("cannot list tasks").hint("buy a new one");
        assert_eq!(
            failure.to_string(),
            "error: cannot list tasks\n  caused by: cannot write `x`\n  caused by: disk on fire\n\
             \nhint: buy a new one\n"
        );
        assert_eq!(failure.exit, Exit::Request);
    }
}
