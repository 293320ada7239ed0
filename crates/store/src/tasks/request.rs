//! Requests to endpoints: tasks that die with their connections, and so are written down late.

use metal9_types::TaskStatus;
use sqlx::SqliteConnection;

use crate::clock::now;
use crate::columns::to_json;
use crate::writer::{Frame, FramedSql, Sync, framed};
use crate::{RequestRow, Store, StoreError, UnixMicros};

/// Adds the task, or changes one that has not ended. Whoever is late changes nothing.
const RECORD: FramedSql = framed!(
    "INSERT INTO tasks (id, workspace, stub, headless, status, attempts_used, worker, container, \
     failure, created_at, updated_at, started_at, ended_at) \
     SELECT ?1, ?2, ?3, 0, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12 \
     WHERE EXISTS (SELECT 1 FROM stubs WHERE id = ?3 AND workspace = ?2) \
     ON CONFLICT (id) DO UPDATE SET status = excluded.status, \
     attempts_used = excluded.attempts_used, worker = excluded.worker, \
     container = excluded.container, failure = excluded.failure, \
     updated_at = excluded.updated_at, started_at = excluded.started_at, \
     ended_at = excluded.ended_at WHERE tasks.ended_at IS NULL \
     AND (excluded.ended_at IS NOT NULL OR tasks.started_at IS NULL)"
);

impl Store {
    /// Writes down how a request is. It survives the end of this process, but not yet a power cut.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn record_request(&self, row: RequestRow) -> Result<(), StoreError> {
        let failure = row.failure.as_ref().map(|it| to_json("failure", it)).transpose()?;
        let update = (row, failure, now());
        self.write_framed(
            Sync::Later,
            "record a request",
            update,
            |(row, failure, at), frame, conn| {
                Box::pin(record(row, failure.as_deref(), *at, frame, conn))
            },
        )
        .await
    }
}

async fn record(
    row: &RequestRow,
    failure: Option<&str>,
    at: UnixMicros,
    frame: Frame,
    conn: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    sqlx::query(RECORD.in_frame(frame))
        .bind(&row.id.0.as_bytes()[..])
        .bind(&row.workspace.0.as_bytes()[..])
        .bind(&row.stub.0.as_bytes()[..])
        .bind(row.status.as_str())
        .bind(i64::from(row.status != TaskStatus::Pending))
        .bind(row.worker.as_ref().map(|id| &id.0.as_bytes()[..]))
        .bind(row.container.map(|id| id.0.cast_signed()))
        .bind(failure)
        .bind(row.created_at)
        .bind(at)
        .bind(row.started_at)
        .bind(row.ended_at)
        .fetch_all(conn)
        .await?;
    Ok(())
}
