//! Workers and the tokens they join with.

use std::time::Duration;

use metal9_types::{WorkerId, WorkspaceId};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::clock::{new_uuid, now};
use crate::columns::Columns;
use crate::keys::{new_token, token_hash};
use crate::store::database;
use crate::{Actor, By, JoinTokenRow, Joined, Store, StoreError, UnixMicros, WorkerRow, audit};

/// What a [`WorkerRow`] is read from.
macro_rules! select_workers {
    ($rest:literal) => {
        concat!(
            "SELECT id, workspace, pool, hostname, joined_at, last_seen, cordoned, drain_until, ",
            "rotated_at, revoked_at, join_token, credential = ?1 AS present FROM workers WHERE ",
            $rest
        )
    };
}

/// `?1` is the hash of a credential.
const SELECT_BY_CREDENTIAL: &str =
    select_workers!("(credential = ?1 OR next_credential = ?1) AND revoked_at IS NULL");
/// `?1` is empty here and below.
const SELECT_OF_WORKSPACE: &str = select_workers!("workspace = ?2 ORDER BY joined_at, id");
const SELECT_CORDONED: &str = select_workers!("cordoned = 1 ORDER BY joined_at, id");

/// No credential has this hash.
const NO_CREDENTIAL: &[u8] = &[];

impl By<'_> {
    /// Makes a token with which a worker may join `pool` until `ttl` has passed: one worker if it
    /// is for a single use, any number otherwise. Returns its public name and the token.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn create_join_token(
        &self,
        workspace: WorkspaceId,
        pool: &str,
        ttl: Duration,
        single_use: bool,
    ) -> Result<(Uuid, String), StoreError> {
        let token = new_token();
        let at = now();
        let ttl = UnixMicros::try_from(ttl.as_micros()).unwrap_or(UnixMicros::MAX);
        let id = new_uuid();
        let data = JoinToken {
            id,
            hash: token_hash(&token),
            workspace,
            pool: pool.to_owned(),
            single_use,
            expires_at: at.saturating_add(ttl),
            created_at: at,
        };
        let uses = if single_use { "for one worker" } else { "reusable" };
        let entry = self.actor.or_in(workspace).did("join_token.create", id.to_string());
        self.store
            .write_noted(
                "make a join token",
                entry.with(format!("pool {pool}, {uses}")),
                data,
                |token, conn| Box::pin(insert_join_token(token, conn)),
                |()| true,
            )
            .await?;
        Ok((id, token))
    }

    /// Takes a join token back; `false` if the workspace has no such token. Workers that have
    /// joined with it stay.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn revoke_join_token(
        &self,
        workspace: WorkspaceId,
        id: Uuid,
    ) -> Result<bool, StoreError> {
        self.store
            .change_noted(
                "take a join token back",
                self.actor.or_in(workspace).did("join_token.revoke", id.to_string()),
                (workspace, id),
                |(workspace, id), conn| {
                    Box::pin(
                        sqlx::query(
                            "UPDATE join_tokens SET revoked = 1 WHERE workspace = ? AND id = ?",
                        )
                        .bind(&workspace.0.as_bytes()[..])
                        .bind(&id.as_bytes()[..])
                        .execute(conn),
                    )
                },
            )
            .await
    }

    /// Takes a new worker in, which wants to be in `pool`; empty for whichever the token is for.
    ///
    /// # Errors
    /// [`StoreError::JoinRefused`] if the token does not allow it; or the database cannot be
    /// written.
    pub async fn join_worker(
        &self,
        token: &str,
        hostname: &str,
        pool: &str,
    ) -> Result<Joined, StoreError> {
        let credential = new_token();
        let newcomer = Newcomer {
            token: token_hash(token),
            id: WorkerId(new_uuid()),
            hostname: hostname.chars().take(256).collect(),
            pool: pool.to_owned(),
            credential: token_hash(&credential),
            at: now(),
            actor: self.actor.clone(),
        };
        let worker = newcomer.id;
        let pool = self
            .store
            .write("let a worker join", newcomer, |newcomer, conn| Box::pin(join(newcomer, conn)))
            .await?
            .map_err(|why| StoreError::JoinRefused { why })?;
        Ok(Joined { worker, credential, pool })
    }

    /// A new credential for a worker. The old one is good until the new one is used; one that was
    /// issued before and never used is good for nothing any more.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if the worker is gone or shut out; or the database cannot be
    /// written.
    pub async fn issue_credential(&self, worker: WorkerId) -> Result<String, StoreError> {
        let credential = new_token();
        let issued = self
            .store
            .change_noted(
                "issue a worker's credential",
                self.actor.did("worker.rotate", worker.to_string()).with("issued"),
                (worker, token_hash(&credential)),
                |(worker, hash), conn| {
                    Box::pin(
                        sqlx::query(
                            "UPDATE workers SET next_credential = ? \
                             WHERE id = ? AND revoked_at IS NULL",
                        )
                        .bind(&hash[..])
                        .bind(&worker.0.as_bytes()[..])
                        .execute(conn),
                    )
                },
            )
            .await?;
        if !issued {
            return Err(StoreError::Missing { kind: "worker", name: worker.to_string() });
        }
        Ok(credential)
    }

    /// Shuts a worker out: none of its credentials opens anything any more. `false` if the
    /// workspace has no such worker.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn revoke_worker(
        &self,
        workspace: WorkspaceId,
        id: WorkerId,
    ) -> Result<bool, StoreError> {
        self.store
            .change_noted(
                "shut a worker out",
                self.actor.or_in(workspace).did("worker.revoke", id.to_string()),
                (workspace, id, now()),
                |(workspace, id, at), conn| {
                    Box::pin(
                        sqlx::query(
                            "UPDATE workers SET revoked_at = coalesce(revoked_at, ?3), \
                             next_credential = NULL WHERE workspace = ?1 AND id = ?2",
                        )
                        .bind(&workspace.0.as_bytes()[..])
                        .bind(&id.0.as_bytes()[..])
                        .bind(*at)
                        .execute(conn),
                    )
                },
            )
            .await
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
        let action = match (cordoned, drain_until) {
            (_, Some(_)) => "worker.drain",
            (true, None) => "worker.cordon",
            (false, None) => "worker.uncordon",
        };
        self.store
            .change_noted(
                "cordon a worker",
                self.actor.or_in(workspace).did(action, id.to_string()),
                (workspace, id, cordoned, drain_until),
                |(workspace, id, cordoned, drain_until), conn| {
                    Box::pin(
                        sqlx::query(
                            "UPDATE workers SET cordoned = ?, drain_until = ? \
                             WHERE workspace = ? AND id = ?",
                        )
                        .bind(*cordoned)
                        .bind(*drain_until)
                        .bind(&workspace.0.as_bytes()[..])
                        .bind(&id.0.as_bytes()[..])
                        .execute(conn),
                    )
                },
            )
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
        self.store
            .change_noted(
                "remove a worker",
                self.actor.or_in(workspace).did("worker.remove", id.to_string()),
                (workspace, id),
                |(workspace, id), conn| {
                    Box::pin(
                        sqlx::query("DELETE FROM workers WHERE workspace = ? AND id = ?")
                            .bind(&workspace.0.as_bytes()[..])
                            .bind(&id.0.as_bytes()[..])
                            .execute(conn),
                    )
                },
            )
            .await
    }
}

impl Store {
    /// The worker a credential belongs to.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn authenticate_worker(
        &self,
        credential: &str,
    ) -> Result<Option<WorkerRow>, StoreError> {
        let hash = token_hash(credential);
        let row = sqlx::query(SELECT_BY_CREDENTIAL)
            .bind(&hash[..])
            .fetch_optional(self.readers())
            .await
            .map_err(database("look up a worker"))?;
        let Some(row) = row else { return Ok(None) };
        let worker = worker_row(&row)?;
        if !(Columns { what: "worker", row: &row }).flag("present")? {
            self.take_credential(&worker, hash).await?;
        }
        Ok(Some(worker))
    }

    /// The new credential was used: from now on it is the only one.
    async fn take_credential(&self, worker: &WorkerRow, hash: [u8; 32]) -> Result<(), StoreError> {
        let actor = Actor::worker(worker.workspace, worker.id, "");
        self.change_noted(
            "take a worker's new credential",
            actor.did("worker.rotate", worker.id.to_string()).with("taken"),
            (worker.id, hash, now()),
            |(worker, hash, at), conn| {
                Box::pin(
                    sqlx::query(
                        "UPDATE workers SET credential = next_credential, next_credential = NULL, \
                         rotated_at = ?3 WHERE id = ?1 AND next_credential = ?2",
                    )
                    .bind(&worker.0.as_bytes()[..])
                    .bind(&hash[..])
                    .bind(*at)
                    .execute(conn),
                )
            },
        )
        .await
        .map(drop)
    }

    /// The join tokens of a workspace, oldest first, but not those that ran out long ago.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list_join_tokens(
        &self,
        workspace: WorkspaceId,
    ) -> Result<Vec<JoinTokenRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, pool, single_use, used, revoked, expires_at, created_at FROM join_tokens \
             WHERE workspace = ? ORDER BY created_at, id",
        )
        .bind(&workspace.0.as_bytes()[..])
        .fetch_all(self.readers())
        .await
        .map_err(database("list join tokens"))?;
        rows.iter().map(join_token_row).collect()
    }

    /// All workers of a workspace, in the order they joined.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list_workers(&self, workspace: WorkspaceId) -> Result<Vec<WorkerRow>, StoreError> {
        let rows = sqlx::query(SELECT_OF_WORKSPACE)
            .bind(NO_CREDENTIAL)
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
            .bind(NO_CREDENTIAL)
            .fetch_all(self.readers())
            .await
            .map_err(database("list cordoned workers"))?;
        rows.iter().map(worker_row).collect()
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
}

struct JoinToken {
    id: Uuid,
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
    pool: String,
    credential: [u8; 32],
    at: UnixMicros,
    actor: Actor,
}

fn join_token_row(row: &SqliteRow) -> Result<JoinTokenRow, StoreError> {
    let columns = Columns { what: "join token", row };
    Ok(JoinTokenRow {
        id: columns.uuid("id")?,
        pool: columns.text("pool")?,
        single_use: columns.flag("single_use")?,
        used: columns.number("used")?,
        revoked: columns.flag("revoked")?,
        expires_at: columns.number("expires_at")?,
        created_at: columns.number("created_at")?,
    })
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
        rotated_at: columns.optional_number("rotated_at")?,
        revoked_at: columns.optional_number("revoked_at")?,
        join_token: columns.optional_uuid("join_token")?,
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
        "INSERT INTO join_tokens (id, hash, workspace, pool, single_use, expires_at, created_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&token.id.as_bytes()[..])
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

/// Id, workspace, pool, whether it is for a single use, how often it was used, whether it was taken
/// back, and when it runs out.
type TokenColumns = (Vec<u8>, Vec<u8>, String, bool, i64, bool, i64);

/// The pool joined, or why not.
async fn join(
    newcomer: &Newcomer,
    conn: &mut SqliteConnection,
) -> Result<Result<String, &'static str>, sqlx::Error> {
    let found: Option<TokenColumns> = sqlx::query_as(
        "SELECT id, workspace, pool, single_use, used, revoked, expires_at FROM join_tokens \
         WHERE hash = ?",
    )
    .bind(&newcomer.token[..])
    .fetch_optional(&mut *conn)
    .await?;
    let Some((token, workspace, pool, single_use, used, revoked, expires_at)) = found else {
        return Ok(Err("is not known"));
    };
    if revoked {
        return Ok(Err("was revoked"));
    }
    if expires_at <= newcomer.at {
        return Ok(Err("has expired"));
    }
    if single_use && used > 0 {
        return Ok(Err("was used already"));
    }
    if !newcomer.pool.is_empty() && newcomer.pool != pool {
        return Ok(Err("is for another pool than the one that was named"));
    }
    sqlx::query("UPDATE join_tokens SET used = used + 1 WHERE hash = ?")
        .bind(&newcomer.token[..])
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "INSERT INTO workers \
         (id, workspace, pool, hostname, credential, joined_at, last_seen, join_token) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7)",
    )
    .bind(&newcomer.id.0.as_bytes()[..])
    .bind(&workspace)
    .bind(&pool)
    .bind(&newcomer.hostname)
    .bind(&newcomer.credential[..])
    .bind(newcomer.at)
    .bind(single_use.then_some(&token))
    .execute(&mut *conn)
    .await?;
    let workspace = WorkspaceId(Uuid::from_slice(&workspace).unwrap_or_default());
    let entry = newcomer.actor.or_in(workspace).did("worker.join", newcomer.id.to_string());
    audit::insert(&entry.with(format!("{} in pool {pool}", newcomer.hostname)), conn).await?;
    Ok(Ok(pool))
}
