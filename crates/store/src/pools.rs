//! Pools that somebody made, and who uses one.

use metal9_types::WorkspaceId;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::clock::now;
use crate::columns::{Columns, to_json};
use crate::most::{MOST_POOLS, Made, too_many};
use crate::store::database;
use crate::{By, Store, StoreError, UnixMicros};

/// Characters of a pool's name.
const LONGEST_NAME: usize = 64;
/// Users of a pool that are looked up.
const MOST_USERS: i64 = 100;

/// A pool that somebody made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolRow {
    /// Its name.
    pub name: String,
    /// The accelerators that its machines are meant to have, as whoever made it wrote them.
    pub gpus: Vec<String>,
    /// How many machines are meant to be in it; 0 where nobody said.
    pub nodes: u32,
    /// When it was made.
    pub created_at: UnixMicros,
}

/// A stub that runs in a pool and nowhere else, and is deployed or has calls that have not ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolUser {
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// The stub's name.
    pub stub: String,
}

impl By<'_> {
    /// Makes a pool; one that is there already stays as it is, and `false` comes back.
    ///
    /// # Errors
    /// When the name is not one ([`StoreError::Invalid`]) or the workspace has too many
    /// ([`StoreError::OverLimit`]); or the database cannot be written.
    pub async fn create_pool(
        &self,
        workspace: WorkspaceId,
        name: &str,
        gpus: &[String],
        nodes: u32,
    ) -> Result<bool, StoreError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let first = |c: char| c.is_ascii_alphanumeric();
        if name.len() > LONGEST_NAME || !name.starts_with(first) || !name.chars().all(plain) {
            return Err(StoreError::Invalid {
                what: "pool name",
                value: name.chars().take(LONGEST_NAME).collect(),
                expected: "1 to 64 letters, digits, `-`, `_` and `.`, a letter or digit first",
            });
        }
        let row = PoolRow { name: name.to_owned(), gpus: gpus.to_vec(), nodes, created_at: now() };
        let data = (workspace, to_json("pool", &row.gpus)?, row);
        let made = self
            .store
            .write_noted(
                "make a pool",
                self.actor.or_in(workspace).did("pool.create", name),
                data,
                |(workspace, gpus, row), conn| Box::pin(insert(*workspace, gpus, row, conn)),
                |made| matches!(made, Made::New),
            )
            .await?;
        match made {
            Made::New => Ok(true),
            Made::There => Ok(false),
            Made::TooMany => {
                Err(too_many(MOST_POOLS, "pools", "delete one with `beta9 pool delete NAME`"))
            }
        }
    }

    /// Forgets a pool, and takes back the tokens that workers could still join it with; `false` if
    /// the workspace has made no such pool. Workers that are in it stay.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn delete_pool(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<bool, StoreError> {
        self.store
            .write_noted(
                "delete a pool",
                self.actor.or_in(workspace).did("pool.delete", name),
                (workspace, name.to_owned()),
                |(workspace, name), conn| Box::pin(delete(*workspace, name, conn)),
                |deleted| *deleted,
            )
            .await
    }
}

impl Store {
    /// The pools that a workspace has made, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn pools(&self, workspace: WorkspaceId) -> Result<Vec<PoolRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT name, gpus, nodes, created_at FROM pools WHERE workspace = ? ORDER BY name",
        )
        .bind(&workspace.0.as_bytes()[..])
        .fetch_all(self.readers())
        .await
        .map_err(database("list pools"))?;
        rows.iter().map(pool_row).collect()
    }

    /// Stubs of all workspaces that need this pool: those that are deployed or have calls that have
    /// not ended. Not more than a hundred of them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn pool_users(&self, pool: &str) -> Result<Vec<PoolUser>, StoreError> {
        let rows = sqlx::query(
            "SELECT workspace, name FROM stubs WHERE json_extract(config, '$.pool') = ? AND (\
             EXISTS (SELECT 1 FROM deployments WHERE stub = stubs.id AND active = 1) OR \
             EXISTS (SELECT 1 FROM tasks WHERE stub = stubs.id AND ended_at IS NULL)) \
             ORDER BY name LIMIT ?",
        )
        .bind(pool)
        .bind(MOST_USERS)
        .fetch_all(self.readers())
        .await
        .map_err(database("look for a pool's stubs"))?;
        rows.iter()
            .map(|row| {
                let columns = Columns { what: "stub", row };
                Ok(PoolUser {
                    workspace: WorkspaceId(columns.uuid("workspace")?),
                    stub: columns.text("name")?,
                })
            })
            .collect()
    }
}

fn pool_row(row: &SqliteRow) -> Result<PoolRow, StoreError> {
    let columns = Columns { what: "pool", row };
    Ok(PoolRow {
        name: columns.text("name")?,
        gpus: columns.json("gpus")?,
        nodes: u32::try_from(columns.number("nodes")?).unwrap_or(0),
        created_at: columns.number("created_at")?,
    })
}

async fn insert(
    workspace: WorkspaceId,
    gpus: &str,
    row: &PoolRow,
    conn: &mut SqliteConnection,
) -> Result<Made, sqlx::Error> {
    let (there, count): (bool, i64) = sqlx::query_as(
        "SELECT coalesce(max(name = ?), 0), count(*) FROM pools WHERE workspace = ?",
    )
    .bind(&row.name)
    .bind(&workspace.0.as_bytes()[..])
    .fetch_one(&mut *conn)
    .await?;
    if there {
        return Ok(Made::There);
    }
    if count >= MOST_POOLS {
        return Ok(Made::TooMany);
    }
    sqlx::query(
        "INSERT INTO pools (workspace, name, gpus, nodes, created_at) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(&workspace.0.as_bytes()[..])
    .bind(&row.name)
    .bind(gpus)
    .bind(row.nodes)
    .bind(row.created_at)
    .execute(conn)
    .await?;
    Ok(Made::New)
}

async fn delete(
    workspace: WorkspaceId,
    name: &str,
    conn: &mut SqliteConnection,
) -> Result<bool, sqlx::Error> {
    let deleted = sqlx::query("DELETE FROM pools WHERE workspace = ? AND name = ?")
        .bind(&workspace.0.as_bytes()[..])
        .bind(name)
        .execute(&mut *conn)
        .await?
        .rows_affected()
        > 0;
    if deleted {
        sqlx::query("UPDATE join_tokens SET revoked = 1 WHERE workspace = ? AND pool = ?")
            .bind(&workspace.0.as_bytes()[..])
            .bind(name)
            .execute(conn)
            .await?;
    }
    Ok(deleted)
}
