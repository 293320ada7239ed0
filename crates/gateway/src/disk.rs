//! Whether the disk has room for more: asked before something is let in, since what is let in must
//! be kept.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;
use tokio::sync::Notify;

use crate::error::ApiError;

/// How long a look at the disk counts; every call asks.
const FRESH: Duration = Duration::from_millis(500);
/// When a client that was refused should come back: somebody has to make room first.
const RETRY_AFTER: Duration = Duration::from_secs(30);
const MIB: u64 = 1024 * 1024;
/// Room beside the reserve that is made before anything is refused: as a part of the reserve …
const MARGIN_PART: u64 = 2;
/// … and at least.
const LEAST_MARGIN: u64 = 16 * MIB;

/// The disk of the state directory.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: PathBuf,
    reserve: u64,
    keep_at_least: Duration,
    seen: Mutex<Option<(Instant, u64)>>,
    wanted: Notify,
}

impl Disk {
    pub(crate) fn new(dir: PathBuf, reserve_mib: u64, keep_at_least: Duration) -> Self {
        Self {
            dir,
            reserve: reserve_mib.saturating_mul(MIB),
            keep_at_least,
            seen: Mutex::default(),
            wanted: Notify::new(),
        }
    }

    /// Asks for room to be made.
    pub(crate) fn want_room(&self) {
        self.wanted.notify_one();
    }

    /// Waits until somebody wants room.
    pub(crate) async fn room_wanted(&self) {
        self.wanted.notified().await;
    }

    /// Bytes by which there is less free than there should be.
    pub(crate) fn missing(&self) -> u64 {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.free().map_or(0, |free| self.comfort().saturating_sub(free))
    }

    /// What should be free: the reserve, and some for what comes.
    fn comfort(&self) -> u64 {
        self.reserve.saturating_add(LEAST_MARGIN.max(self.reserve / MARGIN_PART))
    }

    /// Refuses what would leave less than the reserve, which is for what has been accepted
    /// already: its state, its output and its results. Room is made before it comes to that, where
    /// something is over that can go.
    pub(crate) fn room_for(&self, what: &str, bytes: u64) -> Result<(), ApiError> {
        // A disk that cannot be asked is found out by writing to it.
        let Some(free) = self.free() else { return Ok(()) };
        if free < self.comfort().saturating_add(bytes) {
            self.want_room();
        }
        if self.reserve == 0 {
            return Ok(());
        }
        if free >= self.reserve.saturating_add(bytes) {
            return Ok(());
        }
        Err(ApiError::Exhausted {
            text: format!(
                "{what} is not accepted: the disk that holds the gateway's state has {} MiB free, \
                 and {} MiB are kept for what was accepted before (gateway.min_free_disk_mib)\n\
                 hint: try again in a moment: calls that ended more than {} s ago \
                 (gateway.keep_ended_at_least_seconds) are being removed; where that is not enough, \
                 make room on the gateway's disk",
                free / MIB,
                self.reserve / MIB,
                self.keep_at_least.as_secs(),
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
        let disk = |mib| Disk::new(dir.path().to_owned(), mib, Duration::from_secs(600));
        let roomy = disk(1);
        assert!(roomy.room_for("a call", 0).is_ok());
        let refused = roomy.room_for("an archive", u64::MAX).unwrap_err();
        assert!(refused.to_string().contains("MiB free"), "{refused}");
        assert!(refused.to_string().contains("600 s"), "{refused}");
        let full = disk(u64::MAX / MIB);
        assert!(full.room_for("a call", 0).is_err());
        assert!(disk(0).room_for("a call", u64::MAX).is_ok());
    }

    #[tokio::test]
    async fn room_is_asked_for_before_it_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let free = Disk::new(dir.path().to_owned(), 0, Duration::ZERO).free().unwrap() / MIB;
        // Enough for the reserve, and not for what should be free beside it.
        let disk = Disk::new(dir.path().to_owned(), free / 10 * 9, Duration::ZERO);
        disk.room_for("a call", 0).unwrap();
        disk.room_wanted().await;
        assert!(disk.missing() > 0);
    }
}
