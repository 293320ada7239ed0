//! What comes in pieces from outside: its sender may not be silent for long, and the disk must have
//! room for it all the way.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use crate::disk::Disk;
use crate::error::ApiError;
use crate::validate::refuse;

/// How long a sender may be silent in the middle.
const SILENCE: Duration = Duration::from_secs(60);
/// How often the disk is looked at, in bytes.
const LOOK_EVERY: u64 = 64 * 1024 * 1024;

/// Waits for the next piece; nothing at the end. `what` is what is sent, for messages.
///
/// # Errors
/// If it broke off, or nothing came for too long.
pub(crate) async fn next<T, E: Display>(
    what: &str,
    coming: impl Future<Output = Result<Option<T>, E>>,
) -> Result<Option<T>, ApiError> {
    let hint = "send it again";
    match tokio::time::timeout(SILENCE, coming).await {
        Ok(piece) => piece.map_err(|error| refuse(format!("the {what} broke off: {error}"), hint)),
        Err(_) => {
            let what = format!("the {what} stood still for {} s", SILENCE.as_secs());
            Err(refuse(what, hint))
        }
    }
}

/// Looks at the disk again and again while something comes.
#[derive(Debug)]
pub(crate) struct Room {
    what: &'static str,
    /// Bytes that came since the disk was looked at.
    unlooked: u64,
}

impl Room {
    /// Looks with the first piece. `what` is what is sent, for messages.
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what, unlooked: LOOK_EVERY }
    }

    /// For something whose first piece the disk was found to have room for.
    pub(crate) const fn looked(what: &'static str) -> Self {
        Self { what, unlooked: 0 }
    }

    /// Takes note of a piece of so many bytes.
    ///
    /// # Errors
    /// If there is no room for more.
    pub(crate) fn take(&mut self, disk: &Disk, bytes: usize) -> Result<(), ApiError> {
        self.unlooked += bytes as u64;
        if self.unlooked < LOOK_EVERY {
            return Ok(());
        }
        self.unlooked = 0;
        disk.room_for(self.what, LOOK_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_looked_at_with_the_first_piece_and_then_now_and_again() {
        let directory = tempfile::tempdir().unwrap();
        let full = Disk::new(directory.path().to_owned(), u64::MAX >> 20, Duration::ZERO);
        assert!(Room::new("a file").take(&full, 0).is_err());
        let mut looked = Room::looked("a file");
        let most = usize::try_from(LOOK_EVERY).unwrap();
        assert!(looked.take(&full, most - 1).is_ok());
        assert!(looked.take(&full, 1).is_err());
        assert!(looked.take(&full, most - 1).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_is_silent_or_breaks_off_is_told_so() {
        let silent = std::future::pending::<Result<Option<()>, String>>();
        let error = next("upload", silent).await.unwrap_err().to_string();
        assert!(error.contains("the upload stood still for 60 s"), "{error}");
        let broken = async { Err::<Option<()>, _>("gone") };
        let error = next("upload", broken).await.unwrap_err().to_string();
        assert!(error.contains("the upload broke off: gone"), "{error}");
        assert_eq!(next("upload", async { Ok::<_, String>(Some(1)) }).await.unwrap(), Some(1));
    }
}
