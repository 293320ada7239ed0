//! Accepting tasks and changing their state: what every call waits for.

use bytes::Bytes;
use metal9_types::{TaskId, TaskStatus};
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use crate::clock::now;
use crate::columns::to_json;
use crate::writer::{Frame, FramedSql, Sync, framed};
use crate::{Accepted, Changed, NewTask, Store, StoreError, TaskChange, UnixMicros};

impl Store {
    /// Accepts a task; when this returns, it is on disk.
    ///
    /// # Errors
    /// [`StoreError::UnknownStub`] if the workspace has no such stub; or the database cannot be
    /// written.
    pub async fn accept_task(&self, task: NewTask) -> Result<Accepted, StoreError> {
        let stub = task.stub;
        self.write_framed(Sync::Disk, "accept a task", (task, now()), |(task, at), frame, conn| {
            Box::pin(insert_task(task, *at, frame, conn))
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
        self.write_framed(sync, "change a task", update, |update, frame, conn| {
            Box::pin(update_task(update, frame, conn))
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

/// Adds the task and its arguments; returns its id and 1, or the id of the task that the caller
/// made before and 0. Each statement does its work only if the one before did, or did not.
const INSERT_TASK: FramedSql = framed!(
    "INSERT INTO tasks (id, workspace, stub, request_id, headless, status, created_at, \
     updated_at) SELECT ?1, ?2, ?3, ?4, ?5, 'PENDING', ?6, ?6 \
     WHERE EXISTS (SELECT 1 FROM stubs WHERE id = ?3 AND workspace = ?2) \
     ON CONFLICT DO NOTHING RETURNING id, 1; \
     INSERT INTO task_arguments (task, bytes) SELECT ?1, ?7 WHERE changes() = 1; \
     SELECT id, 0 FROM tasks WHERE changes() = 0 AND id = ?1 AND workspace = ?2 UNION ALL \
     SELECT id, 0 FROM tasks WHERE changes() = 0 AND workspace = ?2 AND request_id = ?4"
);

/// Nothing if the workspace has no such stub.
async fn insert_task(
    task: &NewTask,
    at: UnixMicros,
    frame: Frame,
    conn: &mut SqliteConnection,
) -> Result<Option<Accepted>, sqlx::Error> {
    let rows = sqlx::query(INSERT_TASK.in_frame(frame))
        .bind(&task.id.0.as_bytes()[..])
        .bind(&task.workspace.0.as_bytes()[..])
        .bind(&task.stub.0.as_bytes()[..])
        .bind(task.request_id.as_deref())
        .bind(task.headless)
        .bind(at)
        .bind(&task.arguments[..])
        .fetch_all(conn)
        .await?;
    let Some(row) = rows.first() else { return Ok(None) };
    if row.try_get::<i64, _>(1)? == 1 {
        return Ok(Some(Accepted::New));
    }
    let known = Uuid::from_slice(row.try_get::<&[u8], _>(0)?)
        .map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(Some(Accepted::Duplicate(TaskId(known))))
}

/// The change of a task's row, which returns 1 if there was one to change, then what else is to be
/// done, then 0 if there is such a task at all.
macro_rules! update_task {
    ($rest:literal) => {
        framed!(concat!(
            "UPDATE tasks SET status = ?2, attempts_used = ?3, attempt = coalesce(?4, attempt), ",
            "worker = coalesce(?5, worker), container = coalesce(?6, container), failure = ?7, ",
            "phases = coalesce(?8, phases), updated_at = ?9, ",
            "started_at = coalesce(started_at, ?10), ended_at = ?11, ",
            "result_bytes = coalesce(length(?12), 0) ",
            "WHERE id = ?1 AND ended_at IS NULL RETURNING 1; ",
            $rest,
            "SELECT 0 FROM tasks WHERE id = ?1"
        ))
    };
}

const GO_ON: FramedSql = update_task!("");
// The arguments of a task that has ended are gone already, so deleting them again does nothing.
const END: FramedSql = update_task!("DELETE FROM task_arguments WHERE task = ?1; ");
const END_WITH_RESULT: FramedSql = update_task!(
    "INSERT INTO task_results (task, bytes) SELECT ?1, ?12 WHERE changes() = 1; \
     DELETE FROM task_arguments WHERE task = ?1; "
);

async fn update_task(
    update: &Update,
    frame: Frame,
    conn: &mut SqliteConnection,
) -> Result<Changed, sqlx::Error> {
    let Update { change, failure, phases, result, at } = update;
    let terminal = change.status.is_terminal();
    let sql = match (terminal, result) {
        (false, _) => GO_ON,
        (true, None) => END,
        (true, Some(_)) => END_WITH_RESULT,
    };
    let running = change.status == TaskStatus::Running;
    let rows = sqlx::query(sql.in_frame(frame))
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
        .fetch_all(conn)
        .await?;
    match rows.first() {
        None => Ok(Changed::Unknown),
        Some(row) if row.try_get::<i64, _>(0)? == 1 => Ok(Changed::Applied),
        Some(_) => Ok(Changed::AlreadyTerminal),
    }
}
