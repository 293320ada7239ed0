//! Whether the disk has room for more: asked before something is let in, since what is let in must
//! be kept.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;

use crate::error::ApiError;

/// How long a look at the disk counts; every call asks.
const FRESH: Duration = Duration::from_millis(500);
/// When a client that was refused should come back: somebody has to make room first.
const RETRY_AFTER: Duration = Duration::from_secs(30);
const MIB: u64 = 1024 * 1024;

/// The disk of the state directory.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: PathBuf,
    reserve: u64,
    seen: Mutex<Option<(Instant, u64)>>,
}

impl Disk {
    pub(crate) fn new(dir: PathBuf, reserve_mib: u64) -> Self {
        Self { dir, reserve: reserve_mib.saturating_mul(MIB), seen: Mutex::default() }
    }

    /// Refuses what would leave less than the reserve, which is for what has been accepted
    /// already: its state, its output and its results.
    pub(crate) fn room_for(&self, what: &str, bytes: u64) -> Result<(), ApiError> {
        if self.reserve == 0 {
            return Ok(());
        }
        // A disk that cannot be asked is found out by writing to it.
        let Some(free) = self.free() else { return Ok(()) };
        if free >= self.reserve.saturating_add(bytes) {
            return Ok(());
        }
        Err(ApiError::Exhausted {
            text: format!(
                "{what} is not accepted: the disk that holds the gateway's state has {} MiB free, \
                 and {} MiB are kept for what was accepted before (gateway.min_free_disk_mib)\n\
                 hint: make room on the gateway's disk, and try again",
                free / MIB,
                self.reserve / MIB,
            ),
            retry_after: RETRY_AFTER,
        })
    }

    fn free(&self) -> Option<u64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, free)) = *seen
            && at.elapsed() < FRESH
        {
            return Some(free);
        }
        let disk = statvfs(&self.dir)
            .inspect_err(|error| tracing::debug!(%error, "cannot ask the disk"))
            .ok()?;
        #[expect(clippy::useless_conversion, reason = "the types differ between systems")]
        let free =
            u64::from(disk.blocks_available()).saturating_mul(u64::from(disk.fragment_size()));
        *seen = Some((Instant::now(), free));
        Some(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_is_is_refused_and_says_how_much_there_is() {
        let dir = tempfile::tempdir().unwrap();
        let roomy = Disk::new(dir.path().to_owned(), 1);
        assert!(roomy.room_for("a call", 0).is_ok());
        let refused = roomy.room_for("an archive", u64::MAX).unwrap_err();
        assert!(refused.to_string().contains("MiB free"), "{refused}");
        let full = Disk::new(dir.path().to_owned(), u64::MAX / MIB);
        assert!(full.room_for("a call", 0).is_err());
        assert!(Disk::new(dir.path().to_owned(), 0).room_for("a call", u64::MAX).is_ok());
    }
}
