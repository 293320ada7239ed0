//! Maps: values under keys, each with an end.

use bytes::Bytes;
use metal9_types::WorkspaceId;
use sqlx::{Row, SqliteConnection};

use super::quota::{
    self, LONGEST_KEY, MAX_MAP_VALUE_BYTES, Quota, Room, check_name, check_value, expiry,
};
use crate::clock::now;
use crate::store::database;
use crate::{Store, StoreError, UnixMicros};

/// Bytes of keys that are listed at most: they go out in one message.
const LISTED_BYTES: i64 = 12 * 1024 * 1024;
/// What a listed key costs besides its bytes, in a message and in memory.
const PER_KEY: i64 = 16;

#[derive(Clone)]
struct Entry {
    workspace: WorkspaceId,
    map: String,
    key: String,
    value: Bytes,
    bytes: i64,
    expires_at: UnixMicros,
    quota: Quota,
}

impl Store {
    /// Sets a key; its old value and end are forgotten.
    ///
    /// # Errors
    /// When a name, the value or the time to live is not one ([`StoreError::Invalid`]), when there
    /// is no room for it ([`StoreError::OverLimit`]), or the database cannot be written.
    pub async fn map_set(
        &self,
        workspace: WorkspaceId,
        map: &str,
        key: &str,
        value: Bytes,
        ttl_seconds: i64,
        quota: Quota,
    ) -> Result<(), StoreError> {
        check(map, key)?;
        check_value("value", &value, MAX_MAP_VALUE_BYTES)?;
        let expires_at = expiry(ttl_seconds)?;
        let bytes = quota::total(&[map.len(), key.len(), value.len()]);
        let (map, key) = (map.to_owned(), key.to_owned());
        let entry = Entry { workspace, map, key, value, bytes, expires_at, quota };
        let room = self.add("set a map's key", entry, |entry, conn| Box::pin(insert(entry, conn)));
        quota.answer(room.await?)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When a name is not one, or the database cannot be read.
    pub async fn map_get(
        &self,
        workspace: WorkspaceId,
        map: &str,
        key: &str,
    ) -> Result<Option<Bytes>, StoreError> {
        check(map, key)?;
        let value: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT value FROM map_entries \
             WHERE workspace = ? AND map = ? AND key = ? AND expires_at > ?",
        )
        .bind(&workspace.0.as_bytes()[..])
        .bind(map)
        .bind(key)
        .bind(now())
        .fetch_optional(self.readers())
        .await
        .map_err(database("read a map"))?;
        Ok(value.map(Bytes::from))
    }

    /// Deletes a key; `false` if the map does not have it.
    ///
    /// # Errors
    /// When a name is not one, or the database cannot be written.
    pub async fn map_delete(
        &self,
        workspace: WorkspaceId,
        map: &str,
        key: &str,
    ) -> Result<bool, StoreError> {
        check(map, key)?;
        let data = (workspace, map.to_owned(), key.to_owned(), now());
        self.write("delete a map's key", data, |(workspace, map, key, now), conn| {
            Box::pin(async move {
                let expires_at: Option<i64> = sqlx::query_scalar(
                    "DELETE FROM map_entries WHERE workspace = ? AND map = ? AND key = ? \
                     RETURNING expires_at",
                )
                .bind(&workspace.0.as_bytes()[..])
                .bind(map)
                .bind(key)
                .fetch_optional(conn)
                .await?;
                Ok(expires_at.is_some_and(|at| at > *now))
            })
        })
        .await
    }

    /// How many keys a map has.
    ///
    /// # Errors
    /// When the name is not one, or the database cannot be read.
    pub async fn map_count(&self, workspace: WorkspaceId, map: &str) -> Result<u64, StoreError> {
        Ok(self.map_size(workspace, map).await?.0)
    }

    /// A map's keys, in the order they were first set.
    ///
    /// # Errors
    /// [`StoreError::OverLimit`] when they are too many for one message; when the name is not one,
    /// or the database cannot be read.
    pub async fn map_keys(
        &self,
        workspace: WorkspaceId,
        map: &str,
    ) -> Result<Vec<String>, StoreError> {
        let (count, bytes) = self.map_size(workspace, map).await?;
        if bytes > LISTED_BYTES {
            return Err(StoreError::OverLimit {
                what: format!(
                    "the map has {count} keys, which are too many to be listed at once\nhint: use \
                     several maps, or keep a list of keys as a value"
                ),
            });
        }
        sqlx::query_scalar(
            "SELECT key FROM map_entries WHERE workspace = ? AND map = ? AND expires_at > ? \
             ORDER BY id LIMIT ?",
        )
        .bind(&workspace.0.as_bytes()[..])
        .bind(map)
        .bind(now())
        .bind(i64::try_from(count).unwrap_or(i64::MAX))
        .fetch_all(self.readers())
        .await
        .map_err(database("list a map"))
    }

    /// How many keys a map has, and what listing them takes.
    async fn map_size(&self, workspace: WorkspaceId, map: &str) -> Result<(u64, i64), StoreError> {
        check_name("map name", map)?;
        let doing = "count a map";
        let row = sqlx::query(
            "SELECT count(*), coalesce(sum(length(CAST(key AS BLOB)) + ?), 0) FROM map_entries \
             WHERE workspace = ? AND map = ? AND expires_at > ?",
        )
        .bind(PER_KEY)
        .bind(&workspace.0.as_bytes()[..])
        .bind(map)
        .bind(now())
        .fetch_one(self.readers())
        .await
        .map_err(database(doing))?;
        let count: i64 = row.try_get(0).map_err(database(doing))?;
        let bytes: i64 = row.try_get(1).map_err(database(doing))?;
        Ok((u64::try_from(count).unwrap_or(0), bytes))
    }
}

fn check(map: &str, key: &str) -> Result<(), StoreError> {
    check_name("map name", map)?;
    if key.len() <= LONGEST_KEY {
        return Ok(());
    }
    Err(StoreError::Invalid {
        what: "map key",
        value: key.chars().filter(|c| !c.is_control()).take(64).collect(),
        expected: "at most 1024 bytes",
    })
}

async fn insert(entry: &Entry, conn: &mut SqliteConnection) -> Result<Room, sqlx::Error> {
    let workspace = &entry.workspace.0.as_bytes()[..];
    let old: Option<i64> = sqlx::query_scalar(
        "SELECT bytes FROM map_entries WHERE workspace = ? AND map = ? AND key = ?",
    )
    .bind(workspace)
    .bind(&entry.map)
    .bind(&entry.key)
    .fetch_optional(&mut *conn)
    .await?;
    let more = entry.bytes - old.unwrap_or(0);
    let entries = i64::from(old.is_none());
    let room = entry.quota.room_for(entry.workspace, entries, more, conn).await?;
    if room != Room::Taken {
        return Ok(room);
    }
    sqlx::query(
        "INSERT INTO map_entries (workspace, map, key, value, bytes, expires_at) \
         VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (workspace, map, key) DO UPDATE \
         SET value = excluded.value, bytes = excluded.bytes, expires_at = excluded.expires_at",
    )
    .bind(workspace)
    .bind(&entry.map)
    .bind(&entry.key)
    .bind(&entry.value[..])
    .bind(entry.bytes)
    .bind(entry.expires_at)
    .execute(conn)
    .await?;
    Ok(room)
}
