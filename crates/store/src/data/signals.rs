//! Signals: flags that one program sets and another watches, each with an end.

use metal9_types::WorkspaceId;
use sqlx::SqliteConnection;

use super::quota::{self, Quota, Room, check_name, expiry};
use crate::clock::now;
use crate::store::database;
use crate::{Store, StoreError, UnixMicros};

const SIGNAL_NAME: &str = "signal name";

#[derive(Clone)]
struct Signal {
    workspace: WorkspaceId,
    name: String,
    bytes: i64,
    expires_at: UnixMicros,
    quota: Quota,
}

impl Store {
    /// Sets a signal; one that is set gets a new end.
    ///
    /// # Errors
    /// When the name or the time to live is not one, when there is no room for it
    /// ([`StoreError::OverLimit`]), or the database cannot be written.
    pub async fn signal_set(
        &self,
        workspace: WorkspaceId,
        name: &str,
        ttl_seconds: i64,
        quota: Quota,
    ) -> Result<(), StoreError> {
        check_name(SIGNAL_NAME, name)?;
        let expires_at = expiry(ttl_seconds)?;
        let bytes = quota::total(&[name.len()]);
        let signal = Signal { workspace, name: name.to_owned(), bytes, expires_at, quota };
        let room = self.add("set a signal", signal, |signal, conn| Box::pin(insert(signal, conn)));
        quota.answer(room.await?)
    }

    /// Clears a signal; one that is not set is no error.
    ///
    /// # Errors
    /// When the name is not one, or the database cannot be written.
    pub async fn signal_clear(&self, workspace: WorkspaceId, name: &str) -> Result<(), StoreError> {
        check_name(SIGNAL_NAME, name)?;
        let data = (workspace, name.to_owned());
        self.write("clear a signal", data, |(workspace, name), conn| {
            Box::pin(async move {
                sqlx::query("DELETE FROM signals WHERE workspace = ? AND name = ?")
                    .bind(&workspace.0.as_bytes()[..])
                    .bind(name)
                    .execute(conn)
                    .await
                    .map(drop)
            })
        })
        .await
    }

    /// `true` if a signal is set.
    ///
    /// # Errors
    /// When the name is not one, or the database cannot be read.
    pub async fn signal_is_set(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<bool, StoreError> {
        check_name(SIGNAL_NAME, name)?;
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM signals \
             WHERE workspace = ? AND name = ? AND expires_at > ?)",
        )
        .bind(&workspace.0.as_bytes()[..])
        .bind(name)
        .bind(now())
        .fetch_one(self.readers())
        .await
        .map_err(database("look at a signal"))
    }
}

async fn insert(signal: &Signal, conn: &mut SqliteConnection) -> Result<Room, sqlx::Error> {
    let workspace = &signal.workspace.0.as_bytes()[..];
    let known = sqlx::query("UPDATE signals SET expires_at = ? WHERE workspace = ? AND name = ?")
        .bind(signal.expires_at)
        .bind(workspace)
        .bind(&signal.name)
        .execute(&mut *conn)
        .await?;
    if known.rows_affected() > 0 {
        return Ok(Room::Taken);
    }
    let room = signal.quota.room_for(signal.workspace, 1, signal.bytes, conn).await?;
    if room != Room::Taken {
        return Ok(room);
    }
    sqlx::query("INSERT INTO signals (workspace, name, bytes, expires_at) VALUES (?, ?, ?, ?)")
        .bind(workspace)
        .bind(&signal.name)
        .bind(signal.bytes)
        .bind(signal.expires_at)
        .execute(conn)
        .await?;
    Ok(room)
}
