//! Workspaces, and what each may have of the fleet.

use metal9_types::WorkspaceId;
use sqlx::sqlite::SqliteRow;

use crate::clock::{new_uuid, now};
use crate::columns::Columns;
use crate::identity::{first_token, insert_token};
use crate::keys::{new_token, token_hash};
use crate::store::database;
use crate::{By, Store, StoreError, UnixMicros};

/// Characters of a workspace's name.
const LONGEST_NAME: usize = 64;

/// What a workspace may have of the fleet, all of its calls together; nothing for no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkspaceLimits {
    /// Its part where several workspaces want the same, in relation to the weights of the others.
    pub weight: u32,
    /// Containers with a call.
    pub max_containers: Option<u64>,
    /// Processor.
    pub max_cpu_millicores: Option<u64>,
    /// Memory, in MiB.
    pub max_memory_mib: Option<u64>,
    /// Accelerators.
    pub max_gpus: Option<u64>,
    /// Requests a second, whoever makes them.
    pub max_requests_per_second: Option<u64>,
}

impl Default for WorkspaceLimits {
    fn default() -> Self {
        Self {
            weight: 1,
            max_containers: None,
            max_cpu_millicores: None,
            max_memory_mib: None,
            max_gpus: None,
            max_requests_per_second: None,
        }
    }
}

/// A workspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkspaceRow {
    /// Its id.
    pub id: WorkspaceId,
    /// Its name.
    pub name: String,
    /// What it may have.
    pub limits: WorkspaceLimits,
    /// When it was made.
    pub created_at: UnixMicros,
}

impl By<'_> {
    /// Makes a workspace with its first token, which is told this once.
    ///
    /// # Errors
    /// When the name is not one ([`StoreError::Invalid`]) or taken ([`StoreError::Exists`]); or the
    /// database cannot be written.
    pub async fn create_workspace(
        &self,
        name: &str,
        limits: WorkspaceLimits,
    ) -> Result<(WorkspaceRow, String), StoreError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(plain) {
            return Err(StoreError::Invalid {
                what: "workspace name",
                value: name.chars().take(LONGEST_NAME).collect(),
                expected: "1 to 64 letters, digits, `-`, `_` and `.`",
            });
        }
        let (id, key) = (WorkspaceId(new_uuid()), new_token());
        let row = WorkspaceRow { id, name: name.to_owned(), limits, created_at: now() };
        let token = first_token(id);
        let made = self
            .store
            .write_noted(
                "make a workspace",
                self.actor.did("workspace.create", id.to_string()).with(name),
                (row.clone(), token, token_hash(&key)),
                |(row, token, hash), conn| {
                    Box::pin(async move {
                        let made = sqlx::query(
                            "INSERT INTO workspaces (id, name, created_at, weight, max_containers, \
                             max_cpu_millicores, max_memory_mib, max_gpus, \
                             max_requests_per_second) \
                             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING",
                        )
                        .bind(&row.id.0.as_bytes()[..])
                        .bind(&row.name)
                        .bind(row.created_at)
                        .bind(row.limits.weight)
                        .bind(stored(row.limits.max_containers))
                        .bind(stored(row.limits.max_cpu_millicores))
                        .bind(stored(row.limits.max_memory_mib))
                        .bind(stored(row.limits.max_gpus))
                        .bind(stored(row.limits.max_requests_per_second))
                        .execute(&mut *conn)
                        .await?;
                        if made.rows_affected() > 0 {
                            insert_token(token, hash, conn).await?;
                        }
                        Ok(made.rows_affected() > 0)
                    })
                },
                |made| *made,
            )
            .await?;
        if !made {
            return Err(StoreError::Exists { kind: "workspace", name: name.to_owned() });
        }
        Ok((row, key))
    }

    /// Sets what a workspace may have; `false` if there is no such workspace.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn limit_workspace(
        &self,
        id: WorkspaceId,
        limits: WorkspaceLimits,
    ) -> Result<bool, StoreError> {
        let entry = self.actor.did("workspace.limit", id.to_string()).with(format!("{limits:?}"));
        self.store
            .change_noted("limit a workspace", entry, (id, limits), |(id, limits), conn| {
                let query = sqlx::query(
                    "UPDATE workspaces SET weight = ?, max_containers = ?, \
                     max_cpu_millicores = ?, max_memory_mib = ?, max_gpus = ?, \
                     max_requests_per_second = ? WHERE id = ?",
                );
                let query = query
                    .bind(limits.weight)
                    .bind(stored(limits.max_containers))
                    .bind(stored(limits.max_cpu_millicores))
                    .bind(stored(limits.max_memory_mib))
                    .bind(stored(limits.max_gpus))
                    .bind(stored(limits.max_requests_per_second))
                    .bind(&id.0.as_bytes()[..]);
                Box::pin(query.execute(conn))
            })
            .await
    }
}

impl Store {
    /// A workspace's name, which never changes; nothing if there is no such workspace.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn workspace_name(&self, id: WorkspaceId) -> Result<Option<String>, StoreError> {
        let cache = &self.inner.workspace_names;
        let miss = match cache.get(&id) {
            Ok(name) => return Ok(Some(name)),
            Err(miss) => miss,
        };
        let name: Option<String> = sqlx::query_scalar("SELECT name FROM workspaces WHERE id = ?")
            .bind(&id.0.as_bytes()[..])
            .fetch_optional(self.readers())
            .await
            .map_err(database("look up a workspace"))?;
        if let Some(name) = &name {
            cache.remember(miss, id, name.clone(), name.len());
        }
        Ok(name)
    }

    /// All workspaces, the oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn workspaces(&self) -> Result<Vec<WorkspaceRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, name, created_at, weight, max_containers, max_cpu_millicores, \
             max_memory_mib, max_gpus, max_requests_per_second \
             FROM workspaces ORDER BY created_at, id",
        )
        .fetch_all(self.readers())
        .await
        .map_err(database("list workspaces"))?;
        rows.iter().map(workspace_row).collect()
    }
}

fn stored(limit: Option<u64>) -> Option<i64> {
    limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

fn workspace_row(row: &SqliteRow) -> Result<WorkspaceRow, StoreError> {
    let columns = Columns { what: "workspace", row };
    let limit = |name: &'static str| -> Result<Option<u64>, StoreError> {
        Ok(columns.optional_number(name)?.map(|limit| u64::try_from(limit).unwrap_or(0)))
    };
    Ok(WorkspaceRow {
        id: WorkspaceId(columns.uuid("id")?),
        name: columns.text("name")?,
        limits: WorkspaceLimits {
            weight: u32::try_from(columns.number("weight")?).unwrap_or(1),
            max_containers: limit("max_containers")?,
            max_cpu_millicores: limit("max_cpu_millicores")?,
            max_memory_mib: limit("max_memory_mib")?,
            max_gpus: limit("max_gpus")?,
            max_requests_per_second: limit("max_requests_per_second")?,
        },
        created_at: columns.number("created_at")?,
    })
}
