//! Giving room inside the database back to the disk.
//!
//! What is removed leaves free pages, which later rows use again. Where the disk is short of room they
//! are moved to the end of the file and cut off, a step at a time. A database that was made before
//! this was thought of cannot be cut off; its free pages are used again all the same.

use sqlx::SqliteConnection;

use crate::store::database;
use crate::writer::{Frame, FramedSql, Sync, framed};
use crate::{Store, StoreError};

/// Cuts off so many pages of 4 KiB at most: 8 MiB, which need as much room beside the database while
/// they are moved.
const CUT: FramedSql = framed!("PRAGMA incremental_vacuum(2048)");

const FREE: &str =
    "SELECT freelist_count * page_size FROM pragma_freelist_count(), pragma_page_size()";

impl Store {
    /// Bytes in the database that nothing uses. Asking is cheap.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn free_in_database(&self) -> Result<u64, StoreError> {
        let bytes: i64 = sqlx::query_scalar(FREE)
            .fetch_one(self.readers())
            .await
            .map_err(database("measure the database"))?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }

    /// Gives up to 8 MiB of them back to the disk. Returns how many bytes that were; 0 if there is
    /// nothing to give back, or this database cannot.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn give_back(&self) -> Result<u64, StoreError> {
        let before = self.free_in_database().await?;
        if before == 0 {
            return Ok(0);
        }
        // What is lost in a power cut is done again.
        self.write_framed(Sync::Later, "shrink the database", (), |(), frame, conn| {
            Box::pin(cut(frame, conn))
        })
        .await?;
        Ok(before.saturating_sub(self.free_in_database().await?))
    }
}

async fn cut(frame: Frame, conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query(CUT.in_frame(frame)).execute(&mut *conn).await?;
    if frame.closes() {
        // Only now the file becomes shorter. The changes are committed, whatever comes of this.
        let moved = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(conn).await;
        if let Err(error) = moved {
            tracing::debug!(%error, "the database does not become shorter yet");
        }
    }
    Ok(())
}
