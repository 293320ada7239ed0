//! Why a bucket cannot be had.

use std::io;

use metal9_volume::VolumeError;
use tokio::task::JoinError;

use super::answer::{Answer, Kind};

/// Why a bucket cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BucketError {
    #[error("cloud bucket `{bucket}` cannot be asked for")]
    Settings { bucket: String, source: Answer },
    #[error("cloud bucket `{bucket}` could not be listed")]
    List { bucket: String, source: Answer },
    #[error("`{object}` of cloud bucket `{bucket}` could not be fetched")]
    Fetch { bucket: String, object: String, source: Answer },
    #[error("cloud bucket `{bucket}` has more than {most} objects")]
    TooMany { bucket: String, most: usize },
    #[error(
        "the objects of cloud bucket `{bucket}` have {bytes} bytes, more than the limit of {most}"
    )]
    TooLarge { bucket: String, bytes: u64, most: u64 },
    #[error(
        "{bytes} bytes are to be fetched from cloud bucket `{bucket}`, and this worker's disk has \
         room for {room}"
    )]
    NoRoom { bucket: String, bytes: u64, room: u64 },
    #[error("cloud bucket `{bucket}` was not here after {seconds} s")]
    TooSlow { bucket: String, seconds: u64 },
    #[error("`{object}` of cloud bucket `{bucket}` came with {came} bytes instead of {listed}")]
    CutOff { bucket: String, object: String, came: u64, listed: u64 },
    #[error("the files of cloud bucket `{bucket}` could not be written")]
    Files { bucket: String, source: VolumeError },
    #[error("the files of cloud bucket `{bucket}` could not be kept")]
    Cache { bucket: String, source: io::Error },
    #[error("the work on the files of cloud bucket `{bucket}` was cut off")]
    Cancelled { bucket: String, source: JoinError },
    #[error(
        "this worker lets jobs reach no network, which also keeps it from reading cloud bucket \
         `{bucket}` for them"
    )]
    Network { bucket: String },
}

impl BucketError {
    /// What a person can do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TooMany { .. } | Self::TooLarge { .. } | Self::NoRoom { .. } => {
                Some("name a part of it, as CloudBucket(name=\"bucket/directory\", …)")
            }
            Self::List { source, .. } | Self::Fetch { source, .. } => match source.kind {
                Kind::Denied => Some(
                    "check the secrets that access_key and secret_key name, and that the key may \
                     list and read the bucket",
                ),
                Kind::Missing => Some("check the bucket's name, endpoint and region"),
                Kind::Name => Some(
                    "objects with such names cannot be files; rename them, or name a part of the \
                     bucket without them, as CloudBucket(name=\"bucket/directory\", …)",
                ),
                Kind::Other => None,
            },
            Self::Network { .. } => Some("send the call to a pool whose workers have a network"),
            _ => None,
        }
    }
}
