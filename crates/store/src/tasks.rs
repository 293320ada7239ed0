//! Tasks: accepted once, changed until they end, never after.

mod change;
mod list;
mod request;

use bytes::Bytes;
use metal9_types::{AttemptId, ContainerId, StubId, TaskId, WorkerId, WorkspaceId};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::columns::Columns;
use crate::store::database;
use crate::{Store, StoreError, TaskRow};

/// Selects the columns of a [`TaskRow`] from tasks `t`, with a hint which index to use, joined with
/// their stubs `s`.
macro_rules! select_tasks {
    ($hint:literal, $rest:literal) => {
        concat!(
            "SELECT t.id, t.workspace, t.stub, s.name AS stub_name, s.config ->> 'kind' AS kind, ",
            "t.status, t.attempts_used, ",
            "t.attempt, t.worker, t.container, t.headless, t.failure, t.phases, t.created_at, ",
            "t.updated_at, t.started_at, t.ended_at FROM tasks t ",
            $hint,
            " JOIN stubs s ON s.id = t.stub ",
            $rest
        )
    };
}
use select_tasks;

impl Store {
    /// A task.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn task(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
        let row = sqlx::query(select_tasks!("", "WHERE t.id = ?"))
            .bind(&id.0.as_bytes()[..])
            .fetch_optional(self.readers())
            .await
            .map_err(database("look up a task"))?;
        row.as_ref().map(task_row).transpose()
    }

    /// The arguments of a task that has not ended.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn task_arguments(&self, id: TaskId) -> Result<Option<Bytes>, StoreError> {
        let query = sqlx::query("SELECT bytes FROM task_arguments WHERE task = ?");
        self.task_bytes(id, query).await
    }

    /// What a task returned.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn task_result(&self, id: TaskId) -> Result<Option<Bytes>, StoreError> {
        let query = sqlx::query("SELECT bytes FROM task_results WHERE task = ?");
        self.task_bytes(id, query).await
    }

    async fn task_bytes(
        &self,
        id: TaskId,
        query: sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
    ) -> Result<Option<Bytes>, StoreError> {
        let row = query
            .bind(id.0.as_bytes().to_vec())
            .fetch_optional(self.readers())
            .await
            .map_err(database("read a task's bytes"))?;
        row.map(|row| row.try_get::<Vec<u8>, _>(0).map(Bytes::from))
            .transpose()
            .map_err(database("read a task's bytes"))
    }
}

fn task_row(row: &SqliteRow) -> Result<TaskRow, StoreError> {
    let columns = Columns { what: "task", row };
    Ok(TaskRow {
        id: TaskId(columns.uuid("id")?),
        workspace: WorkspaceId(columns.uuid("workspace")?),
        stub: StubId(columns.uuid("stub")?),
        stub_name: columns.text("stub_name")?,
        kind: columns.kind("kind")?,
        status: columns.status("status")?,
        attempts_used: u32::try_from(columns.number("attempts_used")?).unwrap_or(u32::MAX),
        attempt: columns.optional_number("attempt")?.map(|id| AttemptId(id.cast_unsigned())),
        worker: columns.optional_uuid("worker")?.map(WorkerId),
        container: columns.optional_number("container")?.map(|id| ContainerId(id.cast_unsigned())),
        headless: columns.flag("headless")?,
        failure: columns.optional_json("failure")?,
        phases: columns.json("phases")?,
        created_at: columns.number("created_at")?,
        updated_at: columns.number("updated_at")?,
        started_at: columns.optional_number("started_at")?,
        ended_at: columns.optional_number("ended_at")?,
    })
}
