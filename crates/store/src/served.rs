//! Containers that take requests, for the sake of what they write: it belongs to no task.

use metal9_types::{ContainerId, StubId, StubKind, TaskId, WorkspaceId};
use sqlx::{QueryBuilder, Sqlite};

use crate::clock::now;
use crate::columns::{Columns, any_of};
use crate::store::database;
use crate::{Forgotten, Store, StoreError, TaskFilter, UnixMicros};

/// Rows listed where the filter has no limit.
const USUAL_LIMIT: u32 = 1000;

/// A container that takes requests, or did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServedContainer {
    /// What names its output.
    pub log: TaskId,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// Its stub.
    pub stub: StubId,
    /// What its stub is.
    pub kind: StubKind,
    /// The container.
    pub container: ContainerId,
    /// When it began to serve.
    pub created_at: UnixMicros,
    /// When it served no more.
    pub ended_at: Option<UnixMicros>,
}

impl Store {
    /// Notes that a container serves, and that its output has this name.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn container_serves(
        &self,
        log: TaskId,
        stub: StubId,
        container: ContainerId,
    ) -> Result<(), StoreError> {
        let data = (log, stub, container, now());
        self.write_later("note a container", data, |(log, stub, container, at), conn| {
            let query = sqlx::query(
                "INSERT INTO served_containers (log, workspace, stub, container, created_at) \
                 SELECT ?, workspace, id, ?, ? FROM stubs WHERE id = ? \
                 ON CONFLICT (log) DO UPDATE SET container = excluded.container",
            );
            let (log, stub) = (&log.0.as_bytes()[..], &stub.0.as_bytes()[..]);
            let query = query.bind(log).bind(container.0.cast_signed()).bind(*at).bind(stub);
            Box::pin(async move { query.execute(conn).await.map(drop) })
        })
        .await
    }

    /// Notes that a container serves no more; nothing named does so of all, as after a restart.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn container_served(&self, log: Option<TaskId>) -> Result<(), StoreError> {
        self.write_later("note a container's end", (log, now()), |(log, at), conn| {
            let query = sqlx::query(
                "UPDATE served_containers SET ended_at = ?1 \
                 WHERE ended_at IS NULL AND (?2 IS NULL OR log = ?2)",
            );
            let query = query.bind(*at).bind(log.as_ref().map(|log| &log.0.as_bytes()[..]));
            Box::pin(async move { query.execute(conn).await.map(drop) })
        })
        .await
    }

    /// The containers of a workspace that pass the filter's containers, stubs and applications,
    /// newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn served_containers(
        &self,
        workspace: WorkspaceId,
        filter: &TaskFilter,
    ) -> Result<Vec<ServedContainer>, StoreError> {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(
            "SELECT c.log, c.workspace, c.stub, s.config ->> 'kind' AS kind, c.container, \
             c.created_at, c.ended_at FROM served_containers c JOIN stubs s ON s.id = c.stub \
             WHERE c.workspace = ",
        );
        query.push_bind(workspace.0.as_bytes().to_vec());
        let containers = filter.containers.iter().map(|id| id.0.cast_signed());
        any_of(&mut query, " AND c.container IN (", containers, ")");
        let stubs = filter.stubs.iter().map(|id| id.0.as_bytes().to_vec());
        any_of(&mut query, " AND c.stub IN (", stubs, ")");
        let apps = filter.apps.iter().cloned();
        any_of(&mut query, " AND s.config ->> 'app' IN (", apps, ")");
        query.push(" ORDER BY c.created_at DESC, c.log DESC LIMIT ");
        query.push_bind(if filter.limit == 0 { USUAL_LIMIT } else { filter.limit });
        let rows = query
            .build()
            .fetch_all(self.readers())
            .await
            .map_err(database("list containers that serve"))?;
        rows.iter()
            .map(|row| {
                let columns = Columns { what: "container", row };
                Ok(ServedContainer {
                    log: TaskId(columns.uuid("log")?),
                    workspace: WorkspaceId(columns.uuid("workspace")?),
                    stub: StubId(columns.uuid("stub")?),
                    kind: columns.kind("kind")?,
                    container: ContainerId(columns.number("container")?.cast_unsigned()),
                    created_at: columns.number("created_at")?,
                    ended_at: columns.optional_number("ended_at")?,
                })
            })
            .collect()
    }

    /// Removes what containers of a workspace that served no more before a moment have written; at
    /// most `most` of them, those first whose end is longest ago.
    ///
    /// # Errors
    /// When the database or a log cannot be written.
    pub async fn forget_served(
        &self,
        workspace: WorkspaceId,
        before: UnixMicros,
        most: u32,
    ) -> Result<Forgotten, StoreError> {
        let doing = "list containers that served";
        let rows = sqlx::query(
            "SELECT log FROM served_containers WHERE workspace = ? AND ended_at < ? \
             ORDER BY ended_at LIMIT ?",
        )
        .bind(&workspace.0.as_bytes()[..])
        .bind(before)
        .bind(most)
        .fetch_all(self.readers())
        .await
        .map_err(database(doing))?;
        let logs: Vec<TaskId> = rows
            .iter()
            .map(|row| Ok(TaskId(Columns { what: "container", row }.uuid("log")?)))
            .collect::<Result<_, StoreError>>()?;
        let log_bytes = self.logs().remove(logs.clone()).await.map_err(|source| {
            StoreError::File { doing: "remove a container's log", path: "logs".into(), source }
        })?;
        let count = logs.len();
        self.write_later("remove containers that served", logs, |logs, conn| {
            Box::pin(async move {
                for log in logs.iter() {
                    sqlx::query("DELETE FROM served_containers WHERE log = ?")
                        .bind(&log.0.as_bytes()[..])
                        .execute(&mut *conn)
                        .await?;
                }
                Ok(())
            })
        })
        .await?;
        Ok(Forgotten { count, log_bytes })
    }

    /// Keeps the result of a request.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn keep_result(&self, task: TaskId, result: bytes::Bytes) -> Result<(), StoreError> {
        self.write_later("keep a result", (task, result), |(task, result), conn| {
            let query = sqlx::query(
                "INSERT INTO task_results (task, bytes) SELECT ?1, ?2 \
                 WHERE EXISTS (SELECT 1 FROM tasks WHERE id = ?1) \
                 ON CONFLICT DO NOTHING",
            );
            let query = query.bind(&task.0.as_bytes()[..]).bind(&result[..]);
            Box::pin(async move { query.execute(conn).await.map(drop) })
        })
        .await
    }
}
