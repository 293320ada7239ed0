//! Listing and counting tasks.

use std::collections::{BTreeMap, HashMap};

use metal9_types::{TaskId, TaskStatus, WorkspaceId};
use sqlx::{QueryBuilder, Sqlite};

use super::{select_tasks, task_row};
use crate::columns::{Columns, any_of};
use crate::store::database;
use crate::{Store, StoreError, TaskFilter, TaskRow};

/// Tasks listed where the filter has no limit.
const USUAL_LIMIT: u32 = 1000;

/// Values of a filter at most; SQLite takes no more than 32766 in one statement.
const MOST_VALUES: usize = 10_000;

impl Store {
    /// The tasks of a workspace that pass the filter, newest first.
    ///
    /// # Errors
    /// When the filter has more than 10000 values, or the database cannot be read.
    pub async fn list_tasks(
        &self,
        workspace: WorkspaceId,
        filter: &TaskFilter,
    ) -> Result<Vec<TaskRow>, StoreError> {
        let values = filter.ids.len()
            + filter.statuses.len()
            + filter.stubs.len()
            + filter.stub_names.len()
            + filter.apps.len()
            + filter.containers.len();
        if values > MOST_VALUES {
            return Err(StoreError::Invalid {
                what: "task filter",
                value: format!("{values} values"),
                expected: "at most 10000 values",
            });
        }
        let rows = select(workspace, filter)
            .build()
            .fetch_all(self.readers())
            .await
            .map_err(database("list tasks"))?;
        rows.iter().map(task_row).collect()
    }

    /// How many tasks of a workspace are in each state; states without any are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn count_tasks(
        &self,
        workspace: WorkspaceId,
    ) -> Result<BTreeMap<TaskStatus, u64>, StoreError> {
        let rows = sqlx::query(
            "SELECT status, count(*) AS tasks FROM tasks WHERE workspace = ? AND status IN \
             ('PENDING', 'RUNNING', 'RETRY', 'COMPLETE', 'ERROR', 'CANCELLED', 'TIMEOUT') \
             GROUP BY status",
        )
        .bind(&workspace.0.as_bytes()[..])
        .fetch_all(self.readers())
        .await
        .map_err(database("count tasks"))?;
        rows.iter()
            .map(|row| {
                let columns = Columns { what: "task", row };
                let tasks = u64::try_from(columns.number("tasks")?).unwrap_or(0);
                Ok((columns.status("status")?, tasks))
            })
            .collect()
    }

    /// Every task that has not ended, of all workspaces, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unfinished_tasks(&self) -> Result<Vec<TaskRow>, StoreError> {
        let rows = sqlx::query(select_tasks!(
            "INDEXED BY tasks_by_status",
            "WHERE t.status IN ('PENDING', 'RUNNING', 'RETRY') ORDER BY t.created_at, t.id"
        ))
        .fetch_all(self.readers())
        .await
        .map_err(database("list unfinished tasks"))?;
        rows.iter().map(task_row).collect()
    }

    /// Bytes of the arguments of every task that has not ended.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn argument_sizes(&self) -> Result<HashMap<TaskId, u64>, StoreError> {
        // Tasks that end lose their arguments. SQLite finds a blob's length in its header.
        let rows = sqlx::query("SELECT task, length(bytes) AS size FROM task_arguments")
            .fetch_all(self.readers())
            .await
            .map_err(database("measure arguments"))?;
        rows.iter()
            .map(|row| {
                let columns = Columns { what: "task's arguments", row };
                let size = u64::try_from(columns.number("size")?).unwrap_or(0);
                Ok((TaskId(columns.uuid("task")?), size))
            })
            .collect()
    }

    /// The task that was accepted under this request id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn task_of_request(
        &self,
        workspace: WorkspaceId,
        request: &str,
    ) -> Result<Option<TaskId>, StoreError> {
        let row = sqlx::query("SELECT id FROM tasks WHERE workspace = ? AND request_id = ?")
            .bind(&workspace.0.as_bytes()[..])
            .bind(request)
            .fetch_optional(self.readers())
            .await
            .map_err(database("look up a request"))?;
        row.map(|row| Ok(TaskId(Columns { what: "task", row: &row }.uuid("id")?))).transpose()
    }
}

/// The beginning of the query. Without a hint SQLite, which does not know how few tasks are in a
/// container or not ended, would walk through all tasks of the workspace from the newest on.
fn begin(filter: &TaskFilter) -> &'static str {
    let few = match filter.statuses.as_slice() {
        [] => false,
        [_] => true,
        statuses => !statuses.iter().any(|status| status.is_terminal()),
    };
    if !filter.ids.is_empty() {
        select_tasks!("", "WHERE t.workspace = ")
    } else if !filter.containers.is_empty() {
        select_tasks!("INDEXED BY tasks_by_container", "WHERE t.workspace = ")
    } else if few {
        select_tasks!("INDEXED BY tasks_by_status", "WHERE t.workspace = ")
    } else {
        select_tasks!("", "WHERE t.workspace = ")
    }
}

fn select(workspace: WorkspaceId, filter: &TaskFilter) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(begin(filter));
    query.push_bind(workspace.0.as_bytes().to_vec());
    any_of(&mut query, " AND t.id IN (", filter.ids.iter().map(|id| id.0.as_bytes().to_vec()), ")");
    let statuses = filter.statuses.iter().map(|status| status.as_str());
    any_of(&mut query, " AND t.status IN (", statuses, ")");
    let stubs = filter.stubs.iter().map(|id| id.0.as_bytes().to_vec());
    any_of(&mut query, " AND t.stub IN (", stubs, ")");
    if !filter.stub_names.is_empty() {
        query.push(" AND t.stub IN (SELECT id FROM stubs WHERE workspace = ");
        query.push_bind(workspace.0.as_bytes().to_vec());
        any_of(&mut query, " AND name IN (", filter.stub_names.iter().cloned(), "))");
    }
    if !filter.apps.is_empty() {
        query.push(" AND t.stub IN (SELECT id FROM stubs WHERE workspace = ");
        query.push_bind(workspace.0.as_bytes().to_vec());
        any_of(&mut query, " AND config ->> 'app' IN (", filter.apps.iter().cloned(), "))");
    }
    let containers = filter.containers.iter().map(|id| id.0.cast_signed());
    any_of(&mut query, " AND t.container IN (", containers, ")");
    query.push(" ORDER BY t.created_at DESC, t.id DESC LIMIT ");
    query.push_bind(if filter.limit == 0 { USUAL_LIMIT } else { filter.limit });
    query
}
