//! Deployments: stubs that stay callable under a name, one version after the other.

use metal9_types::{DeploymentId, StubId, StubKind, WorkspaceId};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use crate::clock::{new_uuid, now};
use crate::columns::{Columns, any_of};
use crate::most::{MOST_DEPLOYMENTS, too_many};
use crate::store::database;
use crate::{By, Store, StoreError, UnixMicros};

const SELECT: &str = "SELECT id, workspace, kind, name, version, stub, active, containers, \
                      created_at, updated_at FROM deployments WHERE ";

/// A deployment that is wanted.
#[derive(Clone, Debug)]
pub struct NewDeployment {
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// What kind of stub it is; versions are counted by kind and name.
    pub kind: StubKind,
    /// The name it is called by.
    pub name: String,
    /// The stub.
    pub stub: StubId,
    /// `true` if the earlier versions are to be stopped.
    pub replace: bool,
}

/// A deployment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeploymentRow {
    /// Its id.
    pub id: DeploymentId,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// What kind of stub it is.
    pub kind: StubKind,
    /// The name it is called by.
    pub name: String,
    /// Counted from 1.
    pub version: u32,
    /// The stub.
    pub stub: StubId,
    /// `false` if it takes no calls.
    pub active: bool,
    /// How many containers it has, neither more nor fewer; nothing where its stub's limits hold.
    pub containers: Option<u32>,
    /// When it was made.
    pub created_at: UnixMicros,
    /// When it was last changed.
    pub updated_at: UnixMicros,
}

/// Which deployments are wanted; what is empty rules nothing out.
#[derive(Clone, Debug, Default)]
pub struct DeploymentFilter {
    /// Those with one of these ids.
    pub ids: Vec<DeploymentId>,
    /// Those with one of these names.
    pub names: Vec<String>,
    /// Those with one of these versions.
    pub versions: Vec<u32>,
    /// Those that take calls, or those that do not.
    pub active: Option<bool>,
    /// Those of this kind.
    pub kind: Option<StubKind>,
    /// The newest so many.
    pub limit: u32,
}

/// What there is to change about a deployment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeploymentChange {
    /// It takes calls again.
    Start,
    /// It takes no calls.
    Stop,
    /// It has so many containers; nothing for as many as its stub says.
    Scale(Option<u32>),
}

impl By<'_> {
    /// Makes the next version of a deployment.
    ///
    /// # Errors
    /// When the workspace has too many ([`StoreError::OverLimit`]), or the database cannot be written.
    pub async fn deploy(&self, new: NewDeployment) -> Result<DeploymentRow, StoreError> {
        let row = DeploymentRow {
            id: DeploymentId(new_uuid()),
            workspace: new.workspace,
            kind: new.kind,
            name: new.name,
            version: 0,
            stub: new.stub,
            active: true,
            containers: None,
            created_at: now(),
            updated_at: now(),
        };
        let entry = self.actor.or_in(row.workspace).did("deployment.create", row.id.to_string());
        let version = self
            .store
            .write_noted(
                "make a deployment",
                entry.with(format!("{} {}", row.kind.as_str(), row.name)),
                (row.clone(), new.replace),
                |(row, replace), conn| Box::pin(insert(row, *replace, conn)),
                Option::is_some,
            )
            .await?;
        let Some(version) = version else {
            let hint = "delete versions that nobody calls (`beta9 deployment list`, `beta9 deployment \
                        delete ID`), and deploy under a name that was used before";
            return Err(too_many(MOST_DEPLOYMENTS, "deployments or names of such", hint));
        };
        Ok(DeploymentRow { version, ..row })
    }

    /// Changes a deployment; `false` if the workspace has no such deployment.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn change_deployment(
        &self,
        workspace: WorkspaceId,
        id: DeploymentId,
        change: DeploymentChange,
    ) -> Result<bool, StoreError> {
        let (action, detail) = match change {
            DeploymentChange::Start => ("deployment.start", String::new()),
            DeploymentChange::Stop => ("deployment.stop", String::new()),
            DeploymentChange::Scale(None) => ("deployment.scale", "as its stub says".to_owned()),
            DeploymentChange::Scale(Some(count)) => ("deployment.scale", count.to_string()),
        };
        let entry = self.actor.or_in(workspace).did(action, id.to_string()).with(detail);
        let data = (workspace, id, change, now());
        self.store
            .change_noted(
                "change a deployment",
                entry,
                data,
                |(workspace, id, change, at), conn| {
                    let query = match change {
                        DeploymentChange::Start => sqlx::query(
                            "UPDATE deployments SET updated_at = ?, active = 1 \
                         WHERE workspace = ? AND id = ?",
                        )
                        .bind(at),
                        DeploymentChange::Stop => sqlx::query(
                            "UPDATE deployments SET updated_at = ?, active = 0 \
                         WHERE workspace = ? AND id = ?",
                        )
                        .bind(at),
                        DeploymentChange::Scale(count) => sqlx::query(
                            "UPDATE deployments SET updated_at = ?, containers = ? \
                         WHERE workspace = ? AND id = ?",
                        )
                        .bind(at)
                        .bind(count),
                    };
                    let (workspace, id) = (&workspace.0.as_bytes()[..], &id.0.as_bytes()[..]);
                    Box::pin(query.bind(workspace).bind(id).execute(conn))
                },
            )
            .await
    }

    /// Removes a deployment; `false` if the workspace has no such deployment. Its version is never
    /// given again.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn delete_deployment(
        &self,
        workspace: WorkspaceId,
        id: DeploymentId,
    ) -> Result<bool, StoreError> {
        let entry = self.actor.or_in(workspace).did("deployment.delete", id.to_string());
        self.store
            .change_noted("remove a deployment", entry, (workspace, id), |(workspace, id), conn| {
                let query = sqlx::query("DELETE FROM deployments WHERE workspace = ? AND id = ?");
                let (workspace, id) = (&workspace.0.as_bytes()[..], &id.0.as_bytes()[..]);
                Box::pin(query.bind(workspace).bind(id).execute(conn))
            })
            .await
    }
}

impl Store {
    /// The deployments of a workspace that pass the filter, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn deployments(
        &self,
        workspace: WorkspaceId,
        filter: &DeploymentFilter,
    ) -> Result<Vec<DeploymentRow>, StoreError> {
        let mut query = select_of(workspace);
        any_of(
            &mut query,
            " AND id IN (",
            filter.ids.iter().map(|id| id.0.as_bytes().to_vec()),
            ")",
        );
        any_of(&mut query, " AND name IN (", filter.names.iter().cloned(), ")");
        any_of(&mut query, " AND version IN (", filter.versions.iter().copied(), ")");
        if let Some(active) = filter.active {
            query.push(" AND active = ").push_bind(active);
        }
        if let Some(kind) = filter.kind {
            query.push(" AND kind = ").push_bind(kind.as_str());
        }
        query.push(" ORDER BY created_at DESC, id DESC LIMIT ").push_bind(filter.limit);
        self.select_deployments(query).await
    }

    /// A deployment of a workspace.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn deployment(
        &self,
        workspace: WorkspaceId,
        id: DeploymentId,
    ) -> Result<Option<DeploymentRow>, StoreError> {
        let mut query = select_of(workspace);
        query.push(" AND id = ").push_bind(id.0.as_bytes().to_vec());
        Ok(self.select_deployments(query).await?.pop())
    }

    /// The deployment that is called by a name: this version, or the newest one that takes calls
    /// (if none does, the newest).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn deployment_named(
        &self,
        workspace: WorkspaceId,
        kind: StubKind,
        name: &str,
        version: Option<u32>,
    ) -> Result<Option<DeploymentRow>, StoreError> {
        let mut query = select_of(workspace);
        query.push(" AND kind = ").push_bind(kind.as_str());
        query.push(" AND name = ").push_bind(name.to_owned());
        if let Some(version) = version {
            query.push(" AND version = ").push_bind(version);
        }
        query.push(" ORDER BY active DESC, version DESC LIMIT 1");
        Ok(self.select_deployments(query).await?.pop())
    }

    /// The deployment that a stub is a version of; the newest, if it is of several.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn deployment_of_stub(
        &self,
        stub: StubId,
    ) -> Result<Option<DeploymentRow>, StoreError> {
        let mut query = QueryBuilder::new(SELECT);
        query.push("stub = ").push_bind(stub.0.as_bytes().to_vec());
        query.push(" ORDER BY created_at DESC, id DESC LIMIT 1");
        Ok(self.select_deployments(query).await?.pop())
    }

    /// Every deployment that takes calls, of all workspaces, the oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn active_deployments(&self) -> Result<Vec<DeploymentRow>, StoreError> {
        let mut query = QueryBuilder::new(SELECT);
        query.push("active = 1 ORDER BY created_at, id");
        self.select_deployments(query).await
    }

    /// How many containers stubs have by their deployments' settings, of all workspaces.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn scales(&self) -> Result<Vec<(StubId, u32)>, StoreError> {
        let mut query = QueryBuilder::new(SELECT);
        query.push("containers IS NOT NULL ORDER BY created_at, id");
        let rows = self.select_deployments(query).await?;
        Ok(rows.into_iter().filter_map(|row| Some((row.stub, row.containers?))).collect())
    }

    async fn select_deployments(
        &self,
        mut query: QueryBuilder<Sqlite>,
    ) -> Result<Vec<DeploymentRow>, StoreError> {
        let rows = query.build().fetch_all(self.readers()).await;
        let rows = rows.map_err(database("read deployments"))?;
        rows.iter().map(deployment_row).collect()
    }
}

fn select_of(workspace: WorkspaceId) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(SELECT);
    query.push("workspace = ").push_bind(workspace.0.as_bytes().to_vec());
    query
}

fn deployment_row(row: &SqliteRow) -> Result<DeploymentRow, StoreError> {
    let columns = Columns { what: "deployment", row };
    let kind = columns.text("kind")?;
    let number = |value: i64| u32::try_from(value).unwrap_or(0);
    Ok(DeploymentRow {
        id: DeploymentId(columns.uuid("id")?),
        workspace: WorkspaceId(columns.uuid("workspace")?),
        kind: StubKind::parse(&kind)
            .ok_or_else(|| StoreError::Corrupt { what: "deployment", why: kind })?,
        name: columns.text("name")?,
        version: number(columns.number("version")?),
        stub: StubId(columns.uuid("stub")?),
        active: columns.flag("active")?,
        containers: columns.optional_number("containers")?.map(number),
        created_at: columns.number("created_at")?,
        updated_at: columns.number("updated_at")?,
    })
}

/// Returns the version; nothing if the workspace has too many deployments, or too many names that
/// something was ever deployed under and this is not one of them.
async fn insert(
    row: &DeploymentRow,
    replace: bool,
    conn: &mut SqliteConnection,
) -> Result<Option<u32>, sqlx::Error> {
    let (workspace, kind) = (&row.workspace.0.as_bytes()[..], row.kind.as_str());
    let over: bool = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM deployments WHERE workspace = ?1) >= ?4 \
         OR (SELECT count(*) FROM deployment_names WHERE workspace = ?1) >= ?4 \
         AND NOT EXISTS (SELECT 1 FROM deployment_names \
                         WHERE workspace = ?1 AND kind = ?2 AND name = ?3)",
    )
    .bind(workspace)
    .bind(kind)
    .bind(&row.name)
    .bind(MOST_DEPLOYMENTS)
    .fetch_one(&mut *conn)
    .await?;
    if over {
        return Ok(None);
    }
    let version: u32 = sqlx::query_scalar(
        "INSERT INTO deployment_names (workspace, kind, name, last_version) VALUES (?, ?, ?, 1) \
         ON CONFLICT DO UPDATE SET last_version = last_version + 1 RETURNING last_version",
    )
    .bind(workspace)
    .bind(kind)
    .bind(&row.name)
    .fetch_one(&mut *conn)
    .await?;
    if replace {
        sqlx::query(
            "UPDATE deployments SET active = 0, updated_at = ? \
             WHERE workspace = ? AND kind = ? AND name = ? AND active = 1",
        )
        .bind(row.created_at)
        .bind(workspace)
        .bind(kind)
        .bind(&row.name)
        .execute(&mut *conn)
        .await?;
    }
    sqlx::query(
        "INSERT INTO deployments (id, workspace, kind, name, version, stub, active, containers, \
         created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, 1, NULL, ?, ?)",
    )
    .bind(&row.id.0.as_bytes()[..])
    .bind(workspace)
    .bind(kind)
    .bind(&row.name)
    .bind(version)
    .bind(&row.stub.0.as_bytes()[..])
    .bind(row.created_at)
    .bind(row.created_at)
    .execute(conn)
    .await?;
    Ok(Some(version))
}
