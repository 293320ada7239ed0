//! Removing what is over and what nobody uses: ended tasks with their results and logs, stubs
//! without tasks, code archives without stubs.
//!
//! Files of logs go before rows: a crash between the two leaves a task without output, which the next
//! round removes, and never a file that nobody knows of. Archives and outputs are the other way
//! round, since those that no row names are removed when the store is opened.

use metal9_types::{ObjectId, StubId, TaskId};
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use crate::clock::now;
use crate::store::database;
use crate::{Store, StoreError, UnixMicros};

/// A use is noted only if the last one is older than this, so that asking costs no write.
const NOTE_AFTER: UnixMicros = 3_600_000_000;

/// What notes that a row is used.
pub(crate) const USE_OBJECT: &str = "UPDATE objects SET used_at = ? WHERE id = ?";
pub(crate) const USE_STUB: &str = "UPDATE stubs SET used_at = ? WHERE id = ?";

/// What a round of removing found unused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unused {
    /// Stubs removed.
    pub stubs: usize,
    /// Code archives removed.
    pub objects: usize,
}

impl Store {
    /// Removes the oldest tasks that ended before a moment, with their results and logs; at most
    /// `most` of them. Returns how many.
    ///
    /// # Errors
    /// When the database or a log cannot be written.
    pub async fn forget_ended(&self, before: UnixMicros, most: u32) -> Result<usize, StoreError> {
        let doing = "list ended tasks";
        let rows = sqlx::query("SELECT id FROM tasks WHERE ended_at < ? ORDER BY id LIMIT ?")
            .bind(before)
            .bind(most)
            .fetch_all(self.readers())
            .await
            .map_err(database(doing))?;
        let ids = ids(&rows).map_err(database(doing))?;
        self.logs().remove(ids.iter().copied().map(TaskId).collect()).await.map_err(|source| {
            StoreError::File { doing: "remove a task's log", path: "logs".into(), source }
        })?;
        let count = ids.len();
        // A removal that is lost in a power cut is done again.
        let outputs = self
            .write_later("remove ended tasks", ids, |ids, conn| Box::pin(delete_tasks(ids, conn)))
            .await?;
        for output in outputs {
            self.inner.objects.delete(ObjectId(output)).await?;
        }
        Ok(count)
    }

    /// Bytes that results, outputs and logs of tasks take.
    ///
    /// # Errors
    /// When they cannot be counted.
    pub async fn kept_bytes(&self) -> Result<u64, StoreError> {
        let results: i64 =
            sqlx::query_scalar("SELECT coalesce(sum(length(bytes)), 0) FROM task_results")
                .fetch_one(self.readers())
                .await
                .map_err(database("measure results"))?;
        let outputs: i64 = sqlx::query_scalar("SELECT coalesce(sum(size), 0) FROM outputs")
            .fetch_one(self.readers())
            .await
            .map_err(database("measure outputs"))?;
        let logs = self.logs().disk_bytes().await.map_err(|source| StoreError::File {
            doing: "measure",
            path: "logs".into(),
            source,
        })?;
        Ok(u64::try_from(results.saturating_add(outputs)).unwrap_or(0) + logs)
    }

    /// Removes stubs that nobody has asked for since a moment and that have no task left, and code
    /// archives that nobody has asked for and no stub names.
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
        Ok(Unused { stubs: stubs.len(), objects: objects.len() })
    }

    /// Notes that a row is used now, unless that was noted lately. `statement` is [`USE_OBJECT`] or
    /// [`USE_STUB`].
    pub(crate) async fn note_use(
        &self,
        statement: &'static str,
        id: Uuid,
        last: UnixMicros,
    ) -> Result<(), StoreError> {
        let now = now();
        if now - last < NOTE_AFTER {
            return Ok(());
        }
        let data = (statement, id, now);
        self.write_later("note a use", data, |(statement, id, now), conn| {
            Box::pin(async move {
                let id = &id.as_bytes()[..];
                sqlx::query(*statement).bind(*now).bind(id).execute(conn).await.map(drop)
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
