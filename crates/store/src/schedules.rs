//! Schedules: the times at which a deployment is called by itself.

use metal9_types::{DeploymentId, StubId, TaskId, WorkspaceId};
use sqlx::sqlite::SqliteRow;

use crate::columns::Columns;
use crate::store::database;
use crate::{By, Store, StoreError, UnixMicros};

/// The schedule of a deployment that takes calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScheduleRow {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// What is called.
    pub stub: StubId,
    /// When, as the client wrote it.
    pub cron: String,
    /// The next time for which no task was made.
    pub due: UnixMicros,
    /// The task of the time before.
    pub last_task: Option<TaskId>,
}

impl By<'_> {
    /// Gives a deployment a schedule, in place of the one it has; `false` if the workspace has no
    /// such deployment.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn schedule(
        &self,
        workspace: WorkspaceId,
        deployment: DeploymentId,
        cron: &str,
        due: UnixMicros,
    ) -> Result<bool, StoreError> {
        let entry = self.actor.or_in(workspace).did("deployment.schedule", deployment.to_string());
        let data = (workspace, deployment, cron.to_owned(), due);
        self.store
            .change_noted(
                "schedule a deployment",
                entry.with(cron),
                data,
                |(workspace, deployment, cron, due), conn| {
                    let query = sqlx::query(
                        "INSERT INTO schedules (deployment, cron, due) \
                         SELECT id, ?, ? FROM deployments WHERE workspace = ? AND id = ? \
                         ON CONFLICT (deployment) DO UPDATE SET cron = excluded.cron, \
                         due = excluded.due",
                    );
                    let (workspace, id) =
                        (&workspace.0.as_bytes()[..], &deployment.0.as_bytes()[..]);
                    Box::pin(query.bind(cron).bind(due).bind(workspace).bind(id).execute(conn))
                },
            )
            .await
    }
}

impl Store {
    /// The schedules of deployments that take calls, those due first at the front; at most `most`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn schedules(&self, most: u32) -> Result<Vec<ScheduleRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT s.deployment, d.workspace, d.stub, s.cron, s.due, s.last_task \
             FROM schedules s JOIN deployments d ON d.id = s.deployment WHERE d.active = 1 \
             ORDER BY s.due, s.deployment LIMIT ?",
        )
        .bind(most)
        .fetch_all(self.readers())
        .await
        .map_err(database("read schedules"))?;
        rows.iter().map(schedule_row).collect()
    }

    /// The schedule of a deployment, whether or not it takes calls.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn schedule_of(
        &self,
        deployment: DeploymentId,
    ) -> Result<Option<ScheduleRow>, StoreError> {
        let row = sqlx::query(
            "SELECT s.deployment, d.workspace, d.stub, s.cron, s.due, s.last_task \
             FROM schedules s JOIN deployments d ON d.id = s.deployment WHERE s.deployment = ?",
        )
        .bind(&deployment.0.as_bytes()[..])
        .fetch_optional(self.readers())
        .await
        .map_err(database("read a schedule"))?;
        row.as_ref().map(schedule_row).transpose()
    }

    /// Notes that what was due is done: the task that was made for it, if one was, and when the
    /// next is due. Nothing happens if the schedule is not due at `was` any more.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn advance_schedule(
        &self,
        deployment: DeploymentId,
        was: UnixMicros,
        task: Option<TaskId>,
        next: UnixMicros,
    ) -> Result<(), StoreError> {
        let data = (deployment, was, task, next);
        self.write("advance a schedule", data, |(deployment, was, task, next), conn| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE schedules SET due = ?1, last_task = coalesce(?2, last_task) \
                     WHERE deployment = ?3 AND due = ?4",
                )
                .bind(*next)
                .bind(task.as_ref().map(|task| &task.0.as_bytes()[..]))
                .bind(&deployment.0.as_bytes()[..])
                .bind(*was)
                .execute(conn)
                .await
                .map(drop)
            })
        })
        .await
    }
}

fn schedule_row(row: &SqliteRow) -> Result<ScheduleRow, StoreError> {
    let columns = Columns { what: "schedule", row };
    Ok(ScheduleRow {
        deployment: DeploymentId(columns.uuid("deployment")?),
        workspace: WorkspaceId(columns.uuid("workspace")?),
        stub: StubId(columns.uuid("stub")?),
        cron: columns.text("cron")?,
        due: columns.number("due")?,
        last_task: columns.optional_uuid("last_task")?.map(TaskId),
    })
}
