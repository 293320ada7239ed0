//! Removing what is over and what nobody uses: ended tasks with their results and logs, stubs
//! without tasks, code archives and images without stubs.
//!
//! Files of logs go before rows: a crash between the two leaves a task without output, which the next
//! round removes, and never a file that nobody knows of. Archives and outputs are the other way
//! round, since those that no row names are removed when the store is opened.

use metal9_types::{ImageId, ObjectId, StubId, TaskId};
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use crate::clock::now;
use crate::store::database;
use crate::{Store, StoreError, UnixMicros};

/// A use is noted only if the last one is older than this, so that asking costs no write.
const NOTE_AFTER: UnixMicros = 3_600_000_000;

/// What the row of an ended task counts against the budget besides its result, outputs, failure and
/// log: with its places in indexes it took 390 bytes of the file for a request and 675 for a call,
/// measured with 100,000 of each in order; pages that are not full take more.
pub const TASK_ROW_BYTES: u64 = 1024;

/// Something whose use is noted.
#[derive(Clone, Debug)]
pub(crate) enum Used {
    /// A code archive.
    Object(ObjectId),
    /// A stub.
    Stub(StubId),
    /// An image.
    Image(ImageId),
}

/// What [`Store::forget_ended`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Tasks.
    pub tasks: usize,
    /// Bytes that their logs took.
    pub log_bytes: u64,
}

/// What a round of removing found unused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unused {
    /// Stubs removed.
    pub stubs: usize,
    /// Code archives removed.
    pub objects: usize,
    /// Images removed, with what they were resolved to.
    pub images: usize,
}

impl Store {
    /// Removes the tasks that ended first of those that ended before a moment, with their results
    /// and logs; at most `most` of them.
    ///
    /// # Errors
    /// When the database or a log cannot be written.
    pub async fn forget_ended(
        &self,
        before: UnixMicros,
        most: u32,
    ) -> Result<Forgotten, StoreError> {
        let doing = "list ended tasks";
        let rows = sqlx::query("SELECT id FROM tasks WHERE ended_at < ? ORDER BY ended_at LIMIT ?")
            .bind(before)
            .bind(most)
            .fetch_all(self.readers())
            .await
            .map_err(database(doing))?;
        let ids = ids(&rows).map_err(database(doing))?;
        let logs = self.logs().remove(ids.iter().copied().map(TaskId).collect()).await;
        let log_bytes = logs.map_err(|source| StoreError::File {
            doing: "remove a task's log",
            path: "logs".into(),
            source,
        })?;
        let tasks = ids.len();
        // A removal that is lost in a power cut is done again.
        let outputs = self
            .write_later("remove ended tasks", ids, |ids, conn| Box::pin(delete_tasks(ids, conn)))
            .await?;
        for output in outputs {
            self.inner.objects.delete(ObjectId(output)).await?;
        }
        Ok(Forgotten { tasks, log_bytes })
    }

    /// Bytes that ended tasks take in the database, [`TASK_ROW_BYTES`] for each row included, and
    /// those of all outputs. Asking is cheap.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn kept_bytes(&self) -> Result<u64, StoreError> {
        let (tasks, bytes): (i64, i64) = sqlx::query_as("SELECT tasks, bytes FROM kept_usage")
            .fetch_one(self.readers())
            .await
            .map_err(database("measure ended tasks"))?;
        let rows = u64::try_from(tasks).unwrap_or(0).saturating_mul(TASK_ROW_BYTES);
        Ok(rows.saturating_add(u64::try_from(bytes).unwrap_or(0)))
    }

    /// Bytes that logs take on disk. This looks at every file.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub async fn log_bytes(&self) -> Result<u64, StoreError> {
        let logs = self.logs().disk_bytes().await;
        logs.map_err(|source| StoreError::File { doing: "measure", path: "logs".into(), source })
    }

    /// Removes stubs that nobody has asked for since a moment and that have no task left, and code
    /// archives and images that nobody has asked for and no stub names. Who begins to build an image
    /// asks for it.
    ///
    /// # Errors
    /// When the database or a file cannot be written.
    pub async fn forget_unused(&self, before: UnixMicros) -> Result<Unused, StoreError> {
        let stubs = self
            .write("remove unused stubs", before, |before, conn| {
                Box::pin(delete_stubs(*before, conn))
            })
            .await?;
        self.inner.stubs.forget(|stub, _| stubs.contains(stub));
        let objects = self
            .write("remove unused code", before, |before, conn| {
                Box::pin(delete_objects(*before, conn))
            })
            .await?;
        for object in &objects {
            self.inner.objects.delete(*object).await?;
        }
        let images = self
            .write("remove unused images", before, |before, conn| {
                Box::pin(delete_images(*before, conn))
            })
            .await?;
        self.inner.images.forget(&images);
        Ok(Unused { stubs: stubs.len(), objects: objects.len(), images: images.len() })
    }

    /// Notes that something is used now, unless that was noted lately: `last` is when.
    pub(crate) async fn note_use(&self, used: Used, last: UnixMicros) -> Result<(), StoreError> {
        let now = now();
        if now - last < NOTE_AFTER {
            return Ok(());
        }
        self.write_later("note a use", (used, now), |(used, now), conn| {
            Box::pin(async move {
                let query = match used {
                    Used::Object(ObjectId(id)) => {
                        sqlx::query("UPDATE objects SET used_at = ?2 WHERE id = ?1")
                            .bind(&id.as_bytes()[..])
                    }
                    Used::Stub(StubId(id)) => {
                        sqlx::query("UPDATE stubs SET used_at = ?2 WHERE id = ?1")
                            .bind(&id.as_bytes()[..])
                    }
                    Used::Image(ImageId(id)) => {
                        sqlx::query("UPDATE images SET used_at = ?2 WHERE id = ?1").bind(id)
                    }
                };
                query.bind(*now).execute(conn).await.map(drop)
            })
        })
        .await
    }
}

fn ids(rows: &[sqlx::sqlite::SqliteRow]) -> Result<Vec<Uuid>, sqlx::Error> {
    rows.iter()
        .map(|row| {
            let bytes: &[u8] = row.try_get(0)?;
            Uuid::from_slice(bytes).map_err(|error| sqlx::Error::Decode(error.into()))
        })
        .collect()
}

/// Deletes tasks with all that hangs on them; the ids of their outputs, whose files are to go.
async fn delete_tasks(
    tasks: &[Uuid],
    conn: &mut SqliteConnection,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let mut outputs = Vec::new();
    for id in tasks {
        let rows = sqlx::query("DELETE FROM outputs WHERE task = ? RETURNING id")
            .bind(&id.as_bytes()[..])
            .fetch_all(&mut *conn)
            .await?;
        outputs.extend(ids(&rows)?);
        for statement in [
            "DELETE FROM task_arguments WHERE task = ?",
            "DELETE FROM task_results WHERE task = ?",
            "DELETE FROM tasks WHERE id = ?",
        ] {
            sqlx::query(statement).bind(&id.as_bytes()[..]).execute(&mut *conn).await?;
        }
    }
    Ok(outputs)
}

async fn delete_stubs(
    before: UnixMicros,
    conn: &mut SqliteConnection,
) -> Result<Vec<StubId>, sqlx::Error> {
    let rows = sqlx::query(
        "DELETE FROM stubs WHERE used_at < ? \
         AND NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.stub = stubs.id) \
         AND NOT EXISTS (SELECT 1 FROM deployments WHERE deployments.stub = stubs.id) \
         AND NOT EXISTS (SELECT 1 FROM served_containers WHERE stub = stubs.id) \
         RETURNING id",
    )
    .bind(before)
    .fetch_all(conn)
    .await?;
    Ok(ids(&rows)?.into_iter().map(StubId).collect())
}

async fn delete_objects(
    before: UnixMicros,
    conn: &mut SqliteConnection,
) -> Result<Vec<ObjectId>, sqlx::Error> {
    let named = sqlx::query_scalar("SELECT DISTINCT json_extract(config, '$.object') FROM stubs");
    let named: Vec<String> = named.fetch_all(&mut *conn).await?;
    let named: std::collections::HashSet<String> = named.into_iter().collect();
    let rows = sqlx::query("SELECT id FROM objects WHERE used_at < ?")
        .bind(before)
        .fetch_all(&mut *conn)
        .await?;
    let mut unused = ids(&rows)?;
    unused.retain(|id| !named.contains(&id.to_string()));
    for id in &unused {
        sqlx::query("DELETE FROM objects WHERE id = ?")
            .bind(&id.as_bytes()[..])
            .execute(&mut *conn)
            .await?;
    }
    Ok(unused.into_iter().map(ObjectId).collect())
}

async fn delete_images(
    before: UnixMicros,
    conn: &mut SqliteConnection,
) -> Result<Vec<ImageId>, sqlx::Error> {
    let unused: Vec<String> = sqlx::query_scalar(
        "SELECT id FROM images WHERE used_at < ? \
         AND id NOT IN (SELECT json_extract(config, '$.image') FROM stubs)",
    )
    .bind(before)
    .fetch_all(&mut *conn)
    .await?;
    for id in &unused {
        for statement in
            ["DELETE FROM image_locks WHERE image = ?", "DELETE FROM images WHERE id = ?"]
        {
            sqlx::query(statement).bind(id).execute(&mut *conn).await?;
        }
    }
    Ok(unused.into_iter().map(ImageId).collect())
}
