//! Workers and the tokens they join with.

use std::time::Duration;

use metal9_types::{WorkerId, WorkspaceId};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::clock::{new_uuid, now};
use crate::columns::Columns;
use crate::keys::{new_token, token_hash};
use crate::store::database;
use crate::{Joined, Store, StoreError, UnixMicros, WorkerRow};

/// What a [`WorkerRow`] is read from.
macro_rules! select_workers {
    ($rest:literal) => {
        concat!(
            "SELECT id, workspace, pool, hostname, joined_at, last_seen, cordoned, drain_until ",
            "FROM workers WHERE ",
            $rest
        )
    };
}

const SELECT_BY_CREDENTIAL: &str = select_workers!("credential = ?");
const SELECT_OF_WORKSPACE: &str = select_workers!("workspace = ? ORDER BY joined_at, id");
const SELECT_CORDONED: &str = select_workers!("cordoned = 1 ORDER BY joined_at, id");

impl Store {
    /// Makes a token with which a worker may join `pool` until `ttl` has passed: one worker if it
    /// is for a single use, any number otherwise.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn create_join_token(
        &self,
        workspace: WorkspaceId,
        pool: &str,
        ttl: Duration,
        single_use: bool,
    ) -> Result<String, StoreError> {
        let token = new_token();
        let at = now();
        let ttl = UnixMicros::try_from(ttl.as_micros()).unwrap_or(UnixMicros::MAX);
        let data = JoinToken {
            hash: token_hash(&token),
            workspace,
            pool: pool.to_owned(),
            single_use,
            expires_at: at.saturating_add(ttl),
            created_at: at,
        };
        self.write("make a join token", data, |token, conn| {
            Box::pin(insert_join_token(token, conn))
        })
        .await?;
        Ok(token)
    }

    /// Takes a new worker in.
    ///
    /// # Errors
    /// [`StoreError::JoinRefused`] if the token does not allow it; or the database cannot be
    /// written.
    pub async fn join_worker(&self, token: &str, hostname: &str) -> Result<Joined, StoreError> {
        let credential = new_token();
        let newcomer = Newcomer {
            token: token_hash(token),
            id: WorkerId(new_uuid()),
            hostname: hostname.to_owned(),
            credential: token_hash(&credential),
            at: now(),
        };
        let worker = newcomer.id;
        let pool = self
            .write("let a worker join", newcomer, |newcomer, conn| Box::pin(join(newcomer, conn)))
            .await?
            .map_err(|why| StoreError::JoinRefused { why })?;
        Ok(Joined { worker, credential, pool })
    }

    /// The worker a credential belongs to.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn authenticate_worker(
        &self,
        credential: &str,
    ) -> Result<Option<WorkerRow>, StoreError> {
        let row = sqlx::query(SELECT_BY_CREDENTIAL)
            .bind(&token_hash(credential)[..])
            .fetch_optional(self.readers())
            .await
            .map_err(database("look up a worker"))?;
        row.as_ref().map(worker_row).transpose()
    }

    /// All workers of a workspace, in the order they joined.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list_workers(&self, workspace: WorkspaceId) -> Result<Vec<WorkerRow>, StoreError> {
        let rows = sqlx::query(SELECT_OF_WORKSPACE)
            .bind(&workspace.0.as_bytes()[..])
            .fetch_all(self.readers())
            .await
            .map_err(database("list workers"))?;
        rows.iter().map(worker_row).collect()
    }

    /// Workers of all workspaces that are to get nothing new.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn cordoned_workers(&self) -> Result<Vec<WorkerRow>, StoreError> {
        let rows = sqlx::query(SELECT_CORDONED)
            .fetch_all(self.readers())
            .await
            .map_err(database("list cordoned workers"))?;
        rows.iter().map(worker_row).collect()
    }

    /// Sets whether a worker is to get nothing new, and until when it is being emptied; `false` if
    /// the workspace has no such worker.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn cordon_worker(
        &self,
        workspace: WorkspaceId,
        id: WorkerId,
        cordoned: bool,
        drain_until: Option<UnixMicros>,
    ) -> Result<bool, StoreError> {
        let data = (workspace, id, cordoned, drain_until);
        self.write("cordon a worker", data, |(workspace, id, cordoned, drain_until), conn| {
            Box::pin(async move {
                let done = sqlx::query(
                    "UPDATE workers SET cordoned = ?, drain_until = ? \
                     WHERE workspace = ? AND id = ?",
                )
                .bind(*cordoned)
                .bind(*drain_until)
                .bind(&workspace.0.as_bytes()[..])
                .bind(&id.0.as_bytes()[..])
                .execute(conn)
                .await?;
                Ok(done.rows_affected() > 0)
            })
        })
        .await
    }

    /// Notes that a worker said something just now.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn worker_seen(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.write("note a worker's visit", (worker, now()), |(worker, at), conn| {
            Box::pin(async move {
                sqlx::query("UPDATE workers SET last_seen = max(last_seen, ?) WHERE id = ?")
                    .bind(*at)
                    .bind(&worker.0.as_bytes()[..])
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Removes a worker, so that its credential opens nothing; `false` if the workspace has no such
    /// worker.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn remove_worker(
        &self,
        workspace: WorkspaceId,
        id: WorkerId,
    ) -> Result<bool, StoreError> {
        self.write("remove a worker", (workspace, id), |(workspace, id), conn| {
            Box::pin(async move {
                let done = sqlx::query("DELETE FROM workers WHERE workspace = ? AND id = ?")
                    .bind(&workspace.0.as_bytes()[..])
                    .bind(&id.0.as_bytes()[..])
                    .execute(conn)
                    .await?;
                Ok(done.rows_affected() > 0)
            })
        })
        .await
    }
}

struct JoinToken {
    hash: [u8; 32],
    workspace: WorkspaceId,
    pool: String,
    single_use: bool,
    expires_at: UnixMicros,
    created_at: UnixMicros,
}

struct Newcomer {
    token: [u8; 32],
    id: WorkerId,
    hostname: String,
    credential: [u8; 32],
    at: UnixMicros,
}

fn worker_row(row: &SqliteRow) -> Result<WorkerRow, StoreError> {
    let columns = Columns { what: "worker", row };
    Ok(WorkerRow {
        id: WorkerId(columns.uuid("id")?),
        workspace: WorkspaceId(columns.uuid("workspace")?),
        pool: columns.text("pool")?,
        hostname: columns.text("hostname")?,
        joined_at: columns.number("joined_at")?,
        last_seen: columns.number("last_seen")?,
        cordoned: columns.flag("cordoned")?,
        drain_until: columns.optional_number("drain_until")?,
    })
}

async fn insert_join_token(
    token: &JoinToken,
    conn: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    // Tokens that have run out are of no use to anyone; this is the time to sweep them away.
    sqlx::query("DELETE FROM join_tokens WHERE expires_at < ?")
        .bind(token.created_at - 86_400_000_000)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "INSERT INTO join_tokens (hash, workspace, pool, single_use, expires_at, created_at) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(&token.hash[..])
    .bind(&token.workspace.0.as_bytes()[..])
    .bind(&token.pool)
    .bind(token.single_use)
    .bind(token.expires_at)
    .bind(token.created_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// The pool joined, or why not.
async fn join(
    newcomer: &Newcomer,
    conn: &mut SqliteConnection,
) -> Result<Result<String, &'static str>, sqlx::Error> {
    let found: Option<(Vec<u8>, String, bool, bool, i64)> = sqlx::query_as(
        "SELECT workspace, pool, single_use, used, expires_at FROM join_tokens WHERE hash = ?",
    )
    .bind(&newcomer.token[..])
    .fetch_optional(&mut *conn)
    .await?;
    let Some((workspace, pool, single_use, used, expires_at)) = found else {
        return Ok(Err("is not known"));
    };
    if expires_at <= newcomer.at {
        return Ok(Err("has expired"));
    }
    if single_use && used {
        return Ok(Err("was used already"));
    }
    sqlx::query("UPDATE join_tokens SET used = 1 WHERE hash = ?")
        .bind(&newcomer.token[..])
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "INSERT INTO workers (id, workspace, pool, hostname, credential, joined_at, last_seen) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
    )
    .bind(&newcomer.id.0.as_bytes()[..])
    .bind(workspace)
    .bind(&pool)
    .bind(&newcomer.hostname)
    .bind(&newcomer.credential[..])
    .bind(newcomer.at)
    .execute(conn)
    .await?;
    Ok(Ok(pool))
}
