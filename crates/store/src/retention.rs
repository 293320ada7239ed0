//! Removing what is over and what nobody uses: ended tasks with their results and logs, stubs
//! without tasks, code archives and images without stubs.
//!
//! Files of logs go before rows: a crash between the two leaves a task without output, which the next
//! round removes, and never a file that nobody knows of. Archives and outputs are the other way
//! round, since those that no row names are removed when the store is opened.

use std::collections::HashMap;

use metal9_types::{ImageId, ObjectId, StubId, TaskId, WorkspaceId};
use sqlx::{QueryBuilder, Row, SqliteConnection};
use uuid::Uuid;

use crate::clock::now;
use crate::columns::any_of;
use crate::store::database;
use crate::{Quota, Store, StoreError, UnixMicros};

/// A use is noted only if the last one is older than this, so that asking costs no write.
const NOTE_AFTER: UnixMicros = 3_600_000_000;

/// What the row of an ended task counts against the budget besides its result, outputs, failure and
/// log: with its places in indexes it took 390 bytes of the file for a request and 675 for a call,
/// measured with 100,000 of each in order; pages that are not full take more.
pub const TASK_ROW_BYTES: u64 = 1024;

/// Logs whose workspaces are looked up at a time.
const LOOKED_UP: usize = 500;

/// A stub that neither a task nor a deployment needs, and whose containers wrote nothing that is kept.
const UNNEEDED: &str = "NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.stub = stubs.id) \
     AND NOT EXISTS (SELECT 1 FROM deployments WHERE deployments.stub = stubs.id) \
     AND NOT EXISTS (SELECT 1 FROM served_containers WHERE served_containers.stub = stubs.id)";

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

/// What [`Store::forget_ended`] or [`Store::forget_served`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Tasks, or containers that served.
    pub count: usize,
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
    /// Removes the tasks of a workspace that ended first of those that ended before a moment, with
    /// their results and logs; at most `most` of them.
    ///
    /// # Errors
    /// When the database or a log cannot be written.
    pub async fn forget_ended(
        &self,
        workspace: WorkspaceId,
        before: UnixMicros,
        most: u32,
    ) -> Result<Forgotten, StoreError> {
        let doing = "list ended tasks";
        let rows = sqlx::query(
            "SELECT id FROM tasks WHERE workspace = ? AND ended_at < ? ORDER BY ended_at LIMIT ?",
        )
        .bind(&workspace.0.as_bytes()[..])
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
        let count = ids.len();
        // A removal that is lost in a power cut is done again.
        let outputs = self
            .write_later("remove ended tasks", ids, |ids, conn| Box::pin(delete_tasks(ids, conn)))
            .await?;
        for output in outputs {
            self.inner.objects.delete(ObjectId(output)).await?;
        }
        Ok(Forgotten { count, log_bytes })
    }

    /// Bytes that ended tasks take in the database, [`TASK_ROW_BYTES`] for each row included, and
    /// those of all outputs. Asking is cheap.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn kept_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.kept_bytes_each().await?.values().sum())
    }

    /// The same of each workspace that has any.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn kept_bytes_each(&self) -> Result<HashMap<WorkspaceId, u64>, StoreError> {
        let doing = "measure ended tasks";
        let rows = sqlx::query("SELECT workspace, tasks, bytes FROM kept_usage")
            .fetch_all(self.readers())
            .await
            .map_err(database(doing))?;
        let number = |row: &sqlx::sqlite::SqliteRow, column| {
            row.try_get::<i64, _>(column).map(|number| u64::try_from(number).unwrap_or(0))
        };
        let workspaces = ids(&rows).map_err(database(doing))?.into_iter().map(WorkspaceId);
        let sums = rows.iter().map(|row| {
            let rows = number(row, "tasks")?.saturating_mul(TASK_ROW_BYTES);
            Ok(rows.saturating_add(number(row, "bytes")?))
        });
        let sums = sums.collect::<Result<Vec<_>, _>>().map_err(database(doing))?;
        Ok(workspaces.zip(sums).collect())
    }

    /// Bytes that the logs of each workspace take on disk. This looks at every file, and up the task
    /// of each.
    ///
    /// # Errors
    /// When the directory or the database cannot be read.
    pub async fn log_bytes_each(&self) -> Result<HashMap<WorkspaceId, u64>, StoreError> {
        let logs = self.logs().disk_bytes_each().await;
        let logs = logs.map_err(|source| StoreError::File {
            doing: "measure",
            path: "logs".into(),
            source,
        })?;
        let mut sums = HashMap::new();
        for part in logs.chunks(LOOKED_UP) {
            let bytes: HashMap<Uuid, u64> = part.iter().map(|(task, n)| (task.0, *n)).collect();
            let doing = "look up whose logs these are";
            let named = || part.iter().map(|(task, _)| task.0.as_bytes().to_vec());
            let mut query = QueryBuilder::new("SELECT id, workspace FROM tasks WHERE ");
            any_of(&mut query, "id IN (", named(), ")");
            query.push(" UNION ALL SELECT log, workspace FROM served_containers WHERE ");
            any_of(&mut query, "log IN (", named(), ")");
            let rows = query.build().fetch_all(self.readers()).await.map_err(database(doing))?;
            for (row, log) in rows.iter().zip(ids(&rows).map_err(database(doing))?) {
                let workspace: &[u8] = row.try_get("workspace").map_err(database(doing))?;
                let workspace = Uuid::from_slice(workspace)
                    .map_err(|error| sqlx::Error::Decode(error.into()))
                    .map_err(database(doing))?;
                let sum: &mut u64 = sums.entry(WorkspaceId(workspace)).or_default();
                *sum = sum.saturating_add(bytes.get(&log).copied().unwrap_or(0));
            }
        }
        Ok(sums)
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
                Box::pin(delete_stubs(None, *before, conn))
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

    /// Removes stubs that nobody has asked for since a moment and that nothing needs, the ones unused
    /// for longest first and at most `most` of each workspace, of workspaces that have more than half
    /// of what `quota` lets them have. Returns how many.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn forget_stubs_of_full(
        &self,
        quota: Quota,
        before: UnixMicros,
        most: u32,
    ) -> Result<usize, StoreError> {
        let doing = "look for unused stubs";
        let half = |most: u64| i64::try_from(most / 2).unwrap_or(i64::MAX);
        let full = sqlx::query("SELECT workspace FROM stub_usage WHERE stubs > ? OR bytes > ?")
            .bind(half(quota.entries))
            .bind(half(quota.bytes))
            .fetch_all(self.readers())
            .await
            .map_err(database(doing))?;
        let mut count = 0;
        for workspace in ids(&full).map_err(database(doing))? {
            // Looked for without those waiting who write.
            let mut query = QueryBuilder::new("SELECT id FROM stubs WHERE workspace = ");
            query.push_bind(workspace.as_bytes().to_vec());
            query.push(" AND used_at < ").push_bind(before).push(" AND ").push(UNNEEDED);
            query.push(" ORDER BY used_at LIMIT ").push_bind(most);
            let rows = query.build().fetch_all(self.readers()).await.map_err(database(doing))?;
            let unused = ids(&rows).map_err(database(doing))?;
            if unused.is_empty() {
                continue;
            }
            let data = (unused, before);
            let gone = self.write("remove unused stubs", data, |(unused, before), conn| {
                Box::pin(delete_stubs(Some(unused), *before, conn))
            });
            let gone = gone.await?;
            self.inner.stubs.forget(|stub, _| gone.contains(stub));
            count += gone.len();
        }
        Ok(count)
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

/// Deletes stubs that nobody has asked for since a moment and that nothing needs: of all, or of these.
async fn delete_stubs(
    these: Option<&[Uuid]>,
    before: UnixMicros,
    conn: &mut SqliteConnection,
) -> Result<Vec<StubId>, sqlx::Error> {
    let mut query = QueryBuilder::new("DELETE FROM stubs WHERE used_at < ");
    query.push_bind(before).push(" AND ").push(UNNEEDED);
    any_of(
        &mut query,
        " AND id IN (",
        these.unwrap_or_default().iter().map(|id| id.as_bytes().to_vec()),
        ")",
    );
    query.push(" RETURNING id");
    let rows = query.build().fetch_all(conn).await?;
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
