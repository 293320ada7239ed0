//! Why an archive is not taken.

use std::io;
use std::path::PathBuf;

use zip::result::ZipError;

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read as an archive.
    #[error("it is not a whole zip archive")]
    Archive(#[source] ZipError),
    /// One of its entries cannot be read.
    #[error("its entry number {0} cannot be read")]
    Entry(usize, #[source] ZipError),
    /// An entry would be written elsewhere.
    #[error("its entry `{0}` would be written outside of the code directory")]
    Outside(String),
    /// An entry is a link, a device, a pipe or a socket.
    #[error("its entry `{name}` is {kind}, and only files and directories are unpacked")]
    Kind {
        /// The entry.
        name: String,
        /// What it is, as `a symbolic link`.
        kind: &'static str,
    },
    /// An entry is encrypted.
    #[error("its entry `{0}` is encrypted")]
    Encrypted(String),
    /// An entry's name cannot be a file's.
    #[error("the name of its entry `{name}` {why}")]
    Name {
        /// The entry, shortened.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Two entries would be written to one place.
    #[error("it has two entries for {0}")]
    Twice(String),
    /// There are too many entries.
    #[error("it has {found} files and directories, more than the limit of {limit}")]
    Entries {
        /// How many there are at least.
        found: u64,
        /// How many there may be.
        limit: usize,
    },
    /// There is too much in it.
    #[error("it unpacks to more than {limit} bytes, the limit for an archive of {packed} bytes")]
    Size {
        /// Bytes it may unpack to.
        limit: u64,
        /// Bytes of the archive itself.
        packed: u64,
    },
    /// The disk refused.
    #[error("could not write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ArchiveError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Archive(_) | Self::Entry(..) => {
                "upload it again; if that does not help, the program that made it is broken"
            }
            Self::Outside(_) | Self::Name { .. } => {
                "rename the file, or leave it out with .beta9ignore"
            }
            Self::Kind { .. } => {
                "put the file itself into the project, or leave it out with .beta9ignore"
            }
            Self::Encrypted(_) => "upload an archive without a password",
            Self::Twice(_) => "remove one of the two, or leave it out with .beta9ignore",
            Self::Entries { .. } | Self::Size { .. } => {
                "leave data and environments out with .beta9ignore, and read them from a store"
            }
            Self::Write { .. } => "make room on the worker's disk",
        }
    }

    /// `true` if it is the machine's fault rather than the archive's.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Write { .. })
    }
}
