//! Who did what: an append-only log, written in the same commit as what it tells of.

mod trim;

use futures::future::BoxFuture;
use metal9_types::{TaskId, TokenId, WorkerId, WorkspaceId};
use sqlx::sqlite::{SqliteQueryResult, SqliteRow};
use sqlx::{QueryBuilder, SqliteConnection};

use crate::clock::now;
use crate::columns::Columns;
use crate::store::database;
use crate::writer::Apply;
use crate::{Store, StoreError, UnixMicros};

/// Characters of a text in the log at most.
const LONGEST_TEXT: usize = 512;

/// Who does something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Actor {
    /// `gateway`, `token`, `job`, `worker` or `nobody`.
    kind: &'static str,
    id: String,
    workspace: Option<WorkspaceId>,
    peer: String,
}

impl Actor {
    /// The gateway itself.
    #[must_use]
    pub fn gateway() -> Self {
        Self { kind: "gateway", id: String::new(), workspace: None, peer: String::new() }
    }

    /// Who shows this token.
    #[must_use]
    pub fn token(workspace: WorkspaceId, token: TokenId, peer: &str) -> Self {
        Self::new("token", token.to_string(), Some(workspace), peer)
    }

    /// The job that runs this task.
    #[must_use]
    pub fn job(workspace: WorkspaceId, task: TaskId, peer: &str) -> Self {
        Self::new("job", task.to_string(), Some(workspace), peer)
    }

    /// A worker.
    #[must_use]
    pub fn worker(workspace: WorkspaceId, worker: WorkerId, peer: &str) -> Self {
        Self::new("worker", worker.to_string(), Some(workspace), peer)
    }

    /// Somebody who has not shown who they are.
    #[must_use]
    pub fn nobody(peer: &str) -> Self {
        Self::new("nobody", String::new(), None, peer)
    }

    fn new(kind: &'static str, id: String, workspace: Option<WorkspaceId>, peer: &str) -> Self {
        Self { kind, id, workspace, peer: shortened(peer) }
    }

    /// The same in a workspace that is found out later.
    pub(crate) fn or_in(&self, workspace: WorkspaceId) -> Self {
        Self { workspace: self.workspace.or(Some(workspace)), ..self.clone() }
    }

    /// What this one did.
    #[must_use]
    pub fn did(&self, action: &'static str, object: impl AsRef<str>) -> AuditEntry {
        AuditEntry {
            at: now(),
            actor: self.clone(),
            action,
            object: shortened(object.as_ref()),
            outcome: "done",
            detail: String::new(),
            count: 1,
        }
    }
}

/// One line of the log on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEntry {
    at: UnixMicros,
    actor: Actor,
    action: &'static str,
    object: String,
    outcome: &'static str,
    detail: String,
    count: i64,
}

impl AuditEntry {
    /// The same with more about it. Never a secret.
    #[must_use]
    pub fn with(self, detail: impl AsRef<str>) -> Self {
        Self { detail: shortened(detail.as_ref()), ..self }
    }

    /// The same of something that was refused, so many times.
    #[must_use]
    pub fn refused(self, count: i64) -> Self {
        Self { outcome: "refused", count, ..self }
    }
}

/// One line of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditRow {
    /// Its number; later lines have higher ones.
    pub id: i64,
    /// When.
    pub at: UnixMicros,
    /// `gateway`, `token`, `job`, `worker` or `nobody`.
    pub actor_kind: String,
    /// The id of the token, task or worker.
    pub actor: String,
    /// From which address.
    pub peer: String,
    /// What was done, as `token.create`.
    pub action: String,
    /// To what: an id or a name.
    pub object: String,
    /// `done` or `refused`.
    pub outcome: String,
    /// More about it.
    pub detail: String,
    /// How often, where the same is noted once for many times.
    pub count: i64,
}

/// Which lines of the log are wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuditFilter {
    /// Only lines with higher numbers.
    pub after: Option<i64>,
    /// Only lines of this time or later.
    pub since: Option<UnixMicros>,
    /// Only what this one did: the id, or the kind.
    pub actor: Option<String>,
    /// Lines at most.
    pub limit: u32,
    /// Only what was done in the workspace; else also what the gateway did, and what strangers
    /// tried.
    pub own_only: bool,
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_TEXT).collect()
}

/// A change that is noted in the same commit.
struct Noted<D, T> {
    data: D,
    apply: Apply<D, T>,
    happened: fn(&T) -> bool,
    entry: AuditEntry,
}

fn apply_noted<'c, D, T>(
    noted: &'c Noted<D, T>,
    conn: &'c mut SqliteConnection,
) -> BoxFuture<'c, Result<T, sqlx::Error>>
where
    D: Send + std::marker::Sync + 'static,
    T: Send + 'static,
{
    Box::pin(async move {
        let outcome = (noted.apply)(&noted.data, &mut *conn).await?;
        if (noted.happened)(&outcome) {
            insert(&noted.entry, conn).await?;
        }
        Ok(outcome)
    })
}

impl Store {
    /// Applies a change and, if it `happened`, notes it: both or neither.
    pub(crate) async fn write_noted<D, T>(
        &self,
        doing: &'static str,
        entry: AuditEntry,
        data: D,
        apply: Apply<D, T>,
        happened: fn(&T) -> bool,
    ) -> Result<T, StoreError>
    where
        D: Send + std::marker::Sync + 'static,
        T: Send + 'static,
    {
        self.write(doing, Noted { data, apply, happened, entry }, apply_noted::<D, T>).await
    }

    /// Makes a change of one statement and, if it met a row, notes it: both or neither. `true` if
    /// it met one.
    pub(crate) async fn change_noted<D>(
        &self,
        doing: &'static str,
        entry: AuditEntry,
        data: D,
        apply: Apply<D, SqliteQueryResult>,
    ) -> Result<bool, StoreError>
    where
        D: Send + std::marker::Sync + 'static,
    {
        let met = |done: &SqliteQueryResult| done.rows_affected() > 0;
        self.write_noted(doing, entry, data, apply, met).await.map(|done| met(&done))
    }

    /// Notes something, and returns when the note is on disk.
    ///
    /// # Errors
    /// When the database cannot be written; then what was to be noted must not be done.
    pub async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.write("write the audit log", entry, |entry, conn| Box::pin(insert(entry, conn))).await
    }

    /// Notes something that is frequent and no administration: the note survives the end of this
    /// process, and a power cut a little later.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn audit_later(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.write_later("write the audit log", entry, |entry, conn| Box::pin(insert(entry, conn)))
            .await
    }

    /// Lines of the log that a workspace may see, oldest first; the newest that match, where there
    /// are more than wanted and no line to go on from.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_log(
        &self,
        workspace: WorkspaceId,
        filter: &AuditFilter,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let own: &[u8] = workspace.0.as_bytes();
        let parts: &[&[u8]] = if filter.own_only { &[own] } else { &[own, b"gateway", b"nobody"] };
        let mut rows = Vec::new();
        for part in parts {
            rows.extend(self.audit_part(part, filter).await?);
        }
        rows.sort_by_key(|row| row.id);
        let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
        if filter.after.is_some() {
            rows.truncate(limit);
        } else {
            rows.drain(..rows.len().saturating_sub(limit));
        }
        Ok(rows)
    }

    /// The same of one part of the log, in any order.
    async fn audit_part(
        &self,
        part: &[u8],
        filter: &AuditFilter,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let mut query = QueryBuilder::new("SELECT * FROM audit WHERE part = ");
        query.push_bind(part.to_vec());
        if let Some(after) = filter.after {
            query.push(" AND id > ").push_bind(after);
        }
        if let Some(since) = filter.since {
            query.push(" AND +at >= ").push_bind(since);
        }
        if let Some(actor) = &filter.actor {
            query.push(" AND (actor = ").push_bind(actor.clone());
            query.push(" OR actor_kind = ").push_bind(actor.clone()).push(")");
        }
        let forward = filter.after.is_some();
        query.push(if forward { " ORDER BY id LIMIT " } else { " ORDER BY id DESC LIMIT " });
        query.push_bind(i64::from(filter.limit));
        let rows = query
            .build()
            .fetch_all(self.readers())
            .await
            .map_err(database("read the audit log"))?;
        rows.iter().map(audit_row).collect()
    }
}

fn audit_row(row: &SqliteRow) -> Result<AuditRow, StoreError> {
    let columns = Columns { what: "audit log", row };
    Ok(AuditRow {
        id: columns.number("id")?,
        at: columns.number("at")?,
        actor_kind: columns.text("actor_kind")?,
        actor: columns.text("actor")?,
        peer: columns.text("peer")?,
        action: columns.text("action")?,
        object: columns.text("object")?,
        outcome: columns.text("outcome")?,
        detail: columns.text("detail")?,
        count: columns.number("count")?,
    })
}

pub(crate) async fn insert(
    entry: &AuditEntry,
    conn: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO audit \
         (at, workspace, actor_kind, actor, peer, action, object, outcome, detail, count) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(entry.at)
    .bind(entry.actor.workspace.map(|workspace| workspace.0.as_bytes().to_vec()))
    .bind(entry.actor.kind)
    .bind(&entry.actor.id)
    .bind(&entry.actor.peer)
    .bind(entry.action)
    .bind(&entry.object)
    .bind(entry.outcome)
    .bind(&entry.detail)
    .bind(entry.count)
    .execute(conn)
    .await?;
    Ok(())
}
