//! Values that programs share: maps, queues and signals, within a quota of their workspace.

mod maps;
mod queues;
mod quota;
mod signals;

pub use quota::{
    LONGEST_KEY, LONGEST_NAME, LONGEST_TTL_SECONDS, MAX_MAP_VALUE_BYTES, MAX_QUEUE_VALUE_BYTES,
    Quota,
};

use sqlx::SqliteConnection;

use crate::clock::now;
use crate::writer::Apply;
use crate::{Store, StoreError};
pub(crate) use quota::Room;

/// Expired values removed at a time.
const SWEEP: u32 = 1000;

impl Store {
    /// Adds something. What is expired and not yet removed takes no room from what is new.
    async fn add<D>(
        &self,
        doing: &'static str,
        data: D,
        apply: Apply<D, Room>,
    ) -> Result<Room, StoreError>
    where
        D: Clone + Send + Sync + 'static,
    {
        let room = self.write(doing, data.clone(), apply).await?;
        if room == Room::Taken || self.forget_expired(SWEEP).await? == 0 {
            return Ok(room);
        }
        self.write(doing, data, apply).await
    }

    /// Removes values whose time is over, at most `most` of each kind. Returns how many. Nobody
    /// sees them any more; until now they counted.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_expired(&self, most: u32) -> Result<u64, StoreError> {
        // A removal that is lost in a power cut is done again.
        self.write_later("remove expired values", (now(), most), |(now, most), conn| {
            Box::pin(delete_expired(*now, *most, conn))
        })
        .await
    }
}

async fn delete_expired(
    now: i64,
    most: u32,
    conn: &mut SqliteConnection,
) -> Result<u64, sqlx::Error> {
    let mut count = 0;
    for statement in [
        "DELETE FROM map_entries WHERE id IN \
         (SELECT id FROM map_entries WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
        "DELETE FROM signals WHERE (workspace, name) IN \
         (SELECT workspace, name FROM signals WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
    ] {
        let done = sqlx::query(statement).bind(now).bind(most).execute(&mut *conn).await?;
        count += done.rows_affected();
    }
    Ok(count)
}
