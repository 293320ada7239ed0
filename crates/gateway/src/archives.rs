//! Code archives as they come in: how large they may be, and what they must pass.

use std::fs::File;

use metal9_archive::{ArchiveError, Bounds, content_hash, inspect};
use metal9_store::StoreError;

use crate::error::ApiError;
use crate::validate::refuse;

/// The largest archive that is taken.
pub(crate) const MAX_ARCHIVE_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Why an archive is not kept.
#[derive(Debug)]
pub(crate) enum Refused {
    Archive(ArchiveError),
    /// It holds something else than was announced.
    Content,
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ArchiveError> for Refused {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Archive(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(" ({cause})"));
                let cause = cause.unwrap_or_default();
                let what = format!("the project's archive is not accepted: {error}{cause}");
                refuse(what, error.hint())
            }
            Refused::Content => refuse(
                "the project's archive has other files than its hash says",
                "run it again; a file may have changed while it was sent",
            ),
            Refused::Store(error) => error.into(),
        }
    }
}

/// Looks through an archive.
pub(crate) fn look_through(file: File) -> Result<(), Refused> {
    Ok(inspect(file, Bounds::default()).map(drop)?)
}

/// The same, and reads it: its files must be those that were announced by this hash.
pub(crate) fn look_through_content(file: File, hash: &str) -> Result<(), Refused> {
    match content_hash(file, Bounds::default())? == hash {
        true => Ok(()),
        false => Err(Refused::Content),
    }
}

/// The size that a client announces, in bytes before compression. It is only kept: what counts is
/// what comes.
pub(crate) fn announced(size: i64) -> Result<i64, ApiError> {
    match u64::try_from(size) {
        Ok(bytes) if bytes <= Bounds::default().bytes => Ok(size),
        Ok(_) => Err(too_large()),
        Err(_) => {
            let hint = "announce the bytes of all files, or 0";
            Err(refuse(format!("an archive cannot have {size} bytes"), hint))
        }
    }
}

/// The refusal of a project that is too large.
pub(crate) fn too_large() -> ApiError {
    refuse(
        format!(
            "the project is larger than {} GiB, or {} GiB unpacked",
            MAX_ARCHIVE_BYTES >> 30,
            Bounds::default().bytes >> 30
        ),
        "leave data and environments out with .beta9ignore, and read them from a store",
    )
}
