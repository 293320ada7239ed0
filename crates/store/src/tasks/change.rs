//! Accepting tasks and changing their state: what every call waits for.

use bytes::Bytes;
use metal9_types::{TaskId, TaskStatus};
use sqlx::SqliteConnection;
use uuid::Uuid;

use crate::clock::now;
use crate::columns::to_json;
use crate::writer::Sync;
use crate::{Accepted, Changed, NewTask, Store, StoreError, TaskChange, UnixMicros};

impl Store {
    /// Accepts a task; when this returns, it is on disk.
    ///
    /// # Errors
    /// [`StoreError::UnknownStub`] if the workspace has no such stub; or the database cannot be
    /// written.
    pub async fn accept_task(&self, task: NewTask) -> Result<Accepted, StoreError> {
        let stub = task.stub;
        self.write("accept a task", (task, now()), |(task, at), conn| {
            Box::pin(insert_task(task, *at, conn))
        })
        .await?
        .ok_or(StoreError::UnknownStub { stub })
    }

    /// Brings a task into a new state, unless it has ended. When this returns, an end is on disk;
    /// any other state survives the end of this process, but not yet a power cut.
    ///
    /// Its arguments go when it ends; its result, if it has one, is kept.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn transition(&self, change: TaskChange) -> Result<Changed, StoreError> {
        let failure = change.failure.as_ref().map(|it| to_json("failure", it)).transpose()?;
        let phases = match change.phases.as_slice() {
            [] => None,
            phases => Some(to_json("phases", &phases)?),
        };
        let update = Update {
            result: change.result.clone().filter(|_| change.status.is_terminal()),
            change,
            failure,
            phases,
            at: now(),
        };
        // What a power cut takes of a task that goes on, its workers tell again.
        let sync = if update.change.status.is_terminal() { Sync::Disk } else { Sync::Later };
        self.write_with(sync, "change a task", update, |update, conn| {
            Box::pin(update_task(update, conn))
        })
        .await
    }
}

struct Update {
    change: TaskChange,
    failure: Option<String>,
    phases: Option<String>,
    result: Option<Bytes>,
    at: UnixMicros,
}

/// Nothing if the workspace has no such stub.
async fn insert_task(
    task: &NewTask,
    at: UnixMicros,
    conn: &mut SqliteConnection,
) -> Result<Option<Accepted>, sqlx::Error> {
    // Both statements go to the database's thread as one; the second does its work only if the
    // first did.
    let inserted = sqlx::query(
        "INSERT INTO tasks (id, workspace, stub, request_id, headless, status, created_at, \
         updated_at) SELECT ?1, ?2, ?3, ?4, ?5, 'PENDING', ?6, ?6 \
         WHERE EXISTS (SELECT 1 FROM stubs WHERE id = ?3 AND workspace = ?2) \
         ON CONFLICT DO NOTHING; \
         INSERT INTO task_arguments (task, bytes) SELECT ?1, ?7 WHERE changes() = 1",
    )
    .bind(&task.id.0.as_bytes()[..])
    .bind(&task.workspace.0.as_bytes()[..])
    .bind(&task.stub.0.as_bytes()[..])
    .bind(task.request_id.as_deref())
    .bind(task.headless)
    .bind(at)
    .bind(&task.arguments[..])
    .execute(&mut *conn)
    .await?
    .rows_affected();
    if inserted > 0 {
        return Ok(Some(Accepted::New));
    }
    let known: Option<Vec<u8>> = sqlx::query_scalar(
        "SELECT id FROM tasks WHERE id = ?1 AND workspace = ?2 \
         UNION ALL SELECT id FROM tasks WHERE workspace = ?2 AND request_id = ?3",
    )
    .bind(&task.id.0.as_bytes()[..])
    .bind(&task.workspace.0.as_bytes()[..])
    .bind(task.request_id.as_deref())
    .fetch_optional(conn)
    .await?;
    let Some(known) = known else { return Ok(None) };
    let known = Uuid::from_slice(&known).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(Some(Accepted::Duplicate(TaskId(known))))
}

macro_rules! update_task {
    ($rest:literal) => {
        concat!(
            "UPDATE tasks SET status = ?2, attempts_used = ?3, attempt = coalesce(?4, attempt), ",
            "worker = coalesce(?5, worker), container = coalesce(?6, container), failure = ?7, ",
            "phases = coalesce(?8, phases), updated_at = ?9, ",
            "started_at = coalesce(started_at, ?10), ended_at = ?11 ",
            "WHERE id = ?1 AND ended_at IS NULL",
            $rest
        )
    };
}

async fn update_task(update: &Update, conn: &mut SqliteConnection) -> Result<Changed, sqlx::Error> {
    let Update { change, failure, phases, result, at } = update;
    let terminal = change.status.is_terminal();
    // The arguments of a task that has ended are gone, so deleting them again counts nothing, and
    // the sum of the statements' rows says whether the first one found a task to change.
    let sql = match (terminal, result) {
        (false, _) => update_task!(""),
        (true, None) => update_task!("; DELETE FROM task_arguments WHERE task = ?1"),
        (true, Some(_)) => update_task!(
            "; INSERT INTO task_results (task, bytes) SELECT ?1, ?12 WHERE changes() = 1; \
             DELETE FROM task_arguments WHERE task = ?1"
        ),
    };
    let running = change.status == TaskStatus::Running;
    let changed = sqlx::query(sql)
        .bind(&change.task.0.as_bytes()[..])
        .bind(change.status.as_str())
        .bind(change.attempts_used)
        .bind(change.attempt.map(|id| id.0.cast_signed()))
        .bind(change.worker.as_ref().map(|id| &id.0.as_bytes()[..]))
        .bind(change.container.map(|id| id.0.cast_signed()))
        .bind(failure.as_deref())
        .bind(phases.as_deref())
        .bind(*at)
        .bind(running.then_some(*at))
        .bind(terminal.then_some(*at))
        .bind(result.as_deref())
        .execute(&mut *conn)
        .await?
        .rows_affected();
    if changed > 0 {
        return Ok(Changed::Applied);
    }
    let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tasks WHERE id = ?)")
        .bind(&change.task.0.as_bytes()[..])
        .fetch_one(conn)
        .await?;
    Ok(if known { Changed::AlreadyTerminal } else { Changed::Unknown })
}
