//! What can go wrong.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use metal9_env::EnvError;

use crate::AddressError;

/// A file system could not be mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JuiceFsError {
    /// The address of the metadata makes no sense.
    #[error("the address of JuiceFS' metadata cannot be used")]
    Address(#[from] AddressError),
    /// This machine cannot mount it.
    #[error("JuiceFS cannot be mounted on this machine: {0}")]
    Impossible(String),
    /// The program could not be installed.
    #[error("there is no juicefs on this machine, and it could not be installed")]
    Install(#[source] Box<EnvError>),
    /// The program cannot be run.
    #[error("cannot run `{}`", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory cannot be made.
    #[error("cannot make the directory `{}`", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is a database and no file system in it.
    #[error("there is no JuiceFS file system at `{url}` yet")]
    NotFormatted {
        /// The address without a password.
        url: String,
    },
    /// A file system could not be made.
    #[error("the JuiceFS file system at `{url}` could not be made: {reason}")]
    Format {
        /// The address without a password.
        url: String,
        /// What the program said.
        reason: String,
    },
    /// The program ended.
    #[error("the JuiceFS file system at `{url}` could not be mounted: {reason}")]
    Refused {
        /// The address without a password.
        url: String,
        /// What the program said.
        reason: String,
    },
    /// It takes too long.
    #[error("the JuiceFS file system at `{url}` was not mounted within {within:?}: {reason}")]
    Slow {
        /// The address without a password.
        url: String,
        /// How long was waited.
        within: Duration,
        /// What the program said last.
        reason: String,
    },
}

impl JuiceFsError {
    /// What the person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFormatted { url } => Some(format!(
                "make one with `juicefs format --trash-days 0 --storage s3 --bucket BUCKET {url} \
                 metal9` (the password in META_PASSWORD, the keys in ACCESS_KEY and SECRET_KEY), or \
                 set juicefs.format, juicefs.storage and juicefs.bucket and let the gateway make it"
            )),
            Self::Install(error) => error.hint().or_else(|| {
                Some("install juicefs and put it on PATH, or name it with juicefs.program".into())
            }),
            Self::Run { .. } => {
                Some("name a juicefs that runs here with the setting juicefs.program".to_owned())
            }
            Self::Refused { .. } | Self::Slow { .. } => Some(
                "is the metadata's server up, and may this machine reach it? see juicefs.metadata"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
