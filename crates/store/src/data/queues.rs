//! Queues: first in, first out, each item given to one.

use bytes::Bytes;
use metal9_types::WorkspaceId;
use sqlx::SqliteConnection;

use super::quota::{self, MAX_QUEUE_VALUE_BYTES, Quota, Room, check_name, check_value};
use crate::store::database;
use crate::{Store, StoreError};

const QUEUE_NAME: &str = "queue name";

#[derive(Clone)]
struct Item {
    workspace: WorkspaceId,
    queue: String,
    value: Bytes,
    bytes: i64,
    quota: Quota,
}

impl Store {
    /// Adds an item at the end.
    ///
    /// # Errors
    /// When the name is not one, when the item is too large or there is no room for it
    /// ([`StoreError::OverLimit`]), or the database cannot be written.
    pub async fn queue_put(
        &self,
        workspace: WorkspaceId,
        queue: &str,
        value: Bytes,
        quota: Quota,
    ) -> Result<(), StoreError> {
        check_name(QUEUE_NAME, queue)?;
        check_value("item", &value, MAX_QUEUE_VALUE_BYTES)?;
        let bytes = quota::total(&[queue.len(), value.len()]);
        let item = Item { workspace, queue: queue.to_owned(), value, bytes, quota };
        let room = self.add("put into a queue", item, |item, conn| Box::pin(insert(item, conn)));
        quota.answer(room.await?)
    }

    /// Takes the first item out. It is on disk that it is gone before anybody is given it, so no
    /// crash gives it to two.
    ///
    /// # Errors
    /// When the name is not one, or the database cannot be written.
    pub async fn queue_pop(
        &self,
        workspace: WorkspaceId,
        queue: &str,
    ) -> Result<Option<Bytes>, StoreError> {
        // Programs ask empty queues over and over, and that must cost no write.
        if self.queue_is_empty(workspace, queue).await? {
            return Ok(None);
        }
        let data = (workspace, queue.to_owned());
        let value = self
            .write("take from a queue", data, |(workspace, queue), conn| {
                Box::pin(
                    sqlx::query_scalar::<_, Vec<u8>>(
                        "DELETE FROM queue_items WHERE id = (SELECT id FROM queue_items \
                         WHERE workspace = ? AND queue = ? ORDER BY id LIMIT 1) RETURNING value",
                    )
                    .bind(&workspace.0.as_bytes()[..])
                    .bind(queue)
                    .fetch_optional(conn),
                )
            })
            .await?;
        Ok(value.map(Bytes::from))
    }

    /// The first item, which stays.
    ///
    /// # Errors
    /// When the name is not one, or the database cannot be read.
    pub async fn queue_peek(
        &self,
        workspace: WorkspaceId,
        queue: &str,
    ) -> Result<Option<Bytes>, StoreError> {
        check_name(QUEUE_NAME, queue)?;
        let value: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT value FROM queue_items WHERE workspace = ? AND queue = ? ORDER BY id LIMIT 1",
        )
        .bind(&workspace.0.as_bytes()[..])
        .bind(queue)
        .fetch_optional(self.readers())
        .await
        .map_err(database("look into a queue"))?;
        Ok(value.map(Bytes::from))
    }

    /// How many items a queue has.
    ///
    /// # Errors
    /// When the name is not one, or the database cannot be read.
    pub async fn queue_size(&self, workspace: WorkspaceId, queue: &str) -> Result<u64, StoreError> {
        check_name(QUEUE_NAME, queue)?;
        let size: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM queue_items WHERE workspace = ? AND queue = ?",
        )
        .bind(&workspace.0.as_bytes()[..])
        .bind(queue)
        .fetch_one(self.readers())
        .await
        .map_err(database("count a queue"))?;
        Ok(u64::try_from(size).unwrap_or(0))
    }

    /// `true` if a queue has no item.
    ///
    /// # Errors
    /// When the name is not one, or the database cannot be read.
    pub async fn queue_is_empty(
        &self,
        workspace: WorkspaceId,
        queue: &str,
    ) -> Result<bool, StoreError> {
        check_name(QUEUE_NAME, queue)?;
        sqlx::query_scalar(
            "SELECT NOT EXISTS (SELECT 1 FROM queue_items WHERE workspace = ? AND queue = ?)",
        )
        .bind(&workspace.0.as_bytes()[..])
        .bind(queue)
        .fetch_one(self.readers())
        .await
        .map_err(database("look into a queue"))
    }
}

async fn insert(item: &Item, conn: &mut SqliteConnection) -> Result<Room, sqlx::Error> {
    let room = item.quota.room_for(item.workspace, 1, item.bytes, conn).await?;
    if room != Room::Taken {
        return Ok(room);
    }
    sqlx::query("INSERT INTO queue_items (workspace, queue, value, bytes) VALUES (?, ?, ?, ?)")
        .bind(&item.workspace.0.as_bytes()[..])
        .bind(&item.queue)
        .bind(&item.value[..])
        .bind(item.bytes)
        .execute(conn)
        .await?;
    Ok(room)
}
