//! What can go wrong with a volume's files.

use std::io;

/// An error about a volume's files.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A text that is no path in a volume.
    #[error("`{path}` is no path in a volume: {why}")]
    Path {
        /// The text, shortened where long.
        path: String,
        /// Why.
        why: &'static str,
    },
    /// Nothing is there.
    #[error("`{0}` does not exist in the volume")]
    Missing(String),
    /// It is not what it had to be.
    #[error("`{path}` is {is}")]
    Kind {
        /// The path.
        path: String,
        /// What it is, as `a directory`.
        is: &'static str,
    },
    /// More files than one answer may name.
    #[error("more than {0} files match; name a directory below, or a narrower pattern")]
    TooMany(usize),
    /// The system refused.
    #[error("cannot {doing} `{path}` in the volume")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl VolumeError {
    pub(crate) fn io<'a>(
        doing: &'static str,
        path: impl Into<String> + 'a,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| {
            let path = path.into();
            match source.kind() {
                io::ErrorKind::NotFound => Self::Missing(path),
                io::ErrorKind::IsADirectory => Self::Kind { path, is: "a directory" },
                io::ErrorKind::NotADirectory => Self::Kind { path, is: "below a file" },
                _ => Self::Io { doing, path, source },
            }
        }
    }

    /// `true` if it is the doing of whoever asked, or of the jobs that wrote the files; `false` if
    /// the machine is to be looked at.
    #[must_use]
    pub fn is_callers(&self) -> bool {
        match self {
            Self::Io { source, .. } => matches!(
                source.kind(),
                // Where a link leads out of the volume, or something else came to be there meanwhile.
                io::ErrorKind::PermissionDenied
                    | io::ErrorKind::AlreadyExists
                    | io::ErrorKind::DirectoryNotEmpty
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::InvalidFilename
            ),
            _ => true,
        }
    }
}
