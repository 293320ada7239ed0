//! Workspaces and their bearer tokens.

use std::time::Duration;

use metal9_types::{TokenId, WorkspaceId};
use sqlx::SqliteConnection;

use crate::cache::Cache;
use crate::clock::{new_uuid, now};
use crate::columns::Columns;
use crate::keys::{new_token, token_hash};
use crate::most::{MOST_TOKENS, too_many};
use crate::store::database;
use crate::{
    Actor, Bootstrap, By, Identity, NewToken, Store, StoreError, TokenKind, TokenRow, UnixMicros,
};

const TOKEN: &str = "token";

/// Characters of a token's name at most.
const LONGEST_NAME: usize = 64;

/// Who the tokens seen lately speak for, by hash.
pub(crate) type IdentityCache = Cache<[u8; 32], Identity>;

impl Store {
    /// Makes the workspace `default` with a primary token if there is no workspace at all.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn bootstrap(&self) -> Result<Option<Bootstrap>, StoreError> {
        let token = new_token();
        let row = first_token(WorkspaceId(new_uuid()));
        let workspace = row.workspace;
        let entry = Actor::gateway().did("token.create", row.id.to_string());
        let entry = entry.with("the first token of the first workspace");
        let data = (row, token_hash(&token));
        let made = self
            .write_noted(
                "make the first workspace",
                entry,
                data,
                |(row, hash), conn| Box::pin(insert_first_workspace(row, hash, conn)),
                |made| *made,
            )
            .await?;
        Ok(made.then_some(Bootstrap { workspace, token }))
    }

    /// Who an active token speaks for.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn authenticate(&self, token: &str) -> Result<Option<Identity>, StoreError> {
        let hash = token_hash(token);
        let miss = match self.inner.identities.get(&hash) {
            Ok(identity) => return Ok(Some(identity).filter(is_current)),
            Err(miss) => miss,
        };
        let row = sqlx::query(
            "SELECT t.id, t.workspace, t.kind, t.expires_at, w.name FROM tokens t \
             JOIN workspaces w ON w.id = t.workspace WHERE t.hash = ? AND t.active = 1",
        )
        .bind(&hash[..])
        .fetch_optional(self.readers())
        .await
        .map_err(database("look up a token"))?;
        let Some(row) = row else { return Ok(None) };
        let columns = Columns { what: TOKEN, row: &row };
        let identity = Identity {
            workspace: WorkspaceId(columns.uuid("workspace")?),
            workspace_name: columns.text("name")?,
            token: TokenId(columns.uuid("id")?),
            kind: kind(columns)?,
            expires_at: columns.optional_number("expires_at")?,
        };
        self.inner.identities.remember(miss, hash, identity.clone(), size_of::<Identity>());
        Ok(Some(identity).filter(is_current))
    }

    /// The oldest workspace, with its name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn default_workspace(&self) -> Result<Option<(WorkspaceId, String)>, StoreError> {
        let row = sqlx::query("SELECT id, name FROM workspaces ORDER BY created_at, id LIMIT 1")
            .fetch_optional(self.readers())
            .await
            .map_err(database("look up the first workspace"))?;
        row.map(|row| {
            let columns = Columns { what: "workspace", row: &row };
            Ok((WorkspaceId(columns.uuid("id")?), columns.text("name")?))
        })
        .transpose()
    }

    /// All tokens of a workspace, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list_tokens(&self, workspace: WorkspaceId) -> Result<Vec<TokenRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, workspace, kind, name, active, reusable, expires_at, created_at, updated_at \
             FROM tokens \
             WHERE workspace = ? ORDER BY created_at, id",
        )
        .bind(&workspace.0.as_bytes()[..])
        .fetch_all(self.readers())
        .await
        .map_err(database("list tokens"))?;
        rows.iter().map(token_row).collect()
    }
}

impl By<'_> {
    /// Makes a token. Its secret is told this once and cannot be had again.
    ///
    /// # Errors
    /// When the name is too long ([`StoreError::Invalid`]) or the workspace has too many
    /// ([`StoreError::OverLimit`]); or the database cannot be written, as for a workspace that is not
    /// there.
    pub async fn create_token(
        &self,
        workspace: WorkspaceId,
        wanted: NewToken,
    ) -> Result<(TokenRow, String), StoreError> {
        if wanted.name.len() > LONGEST_NAME || wanted.name.chars().any(char::is_control) {
            return Err(StoreError::Invalid {
                what: "token name",
                value: wanted.name.chars().take(LONGEST_NAME).collect(),
                expected: "at most 64 characters, none of them a control character",
            });
        }
        let token = new_token();
        let row = new_row(workspace, wanted);
        let entry = self.actor.or_in(workspace).did("token.create", row.id.to_string());
        let entry = entry.with(format!("{} {}", row.kind.as_str(), row.name).trim_end());
        let data = (row.clone(), token_hash(&token));
        let made = self
            .store
            .write_noted(
                "make a token",
                entry,
                data,
                |(row, hash), conn| Box::pin(insert_one_more(row, hash, conn)),
                |made| *made,
            )
            .await?;
        if !made {
            let hint = "delete those that nobody uses (`metal9 token list`, `beta9 token delete \
                        ID`), or make such as run out (`metal9 token create --expires 30d`)";
            return Err(too_many(MOST_TOKENS, "tokens", hint));
        }
        Ok((row, token))
    }

    /// Switches a token off, or on again; nothing if the workspace has no such token.
    ///
    /// # Errors
    /// [`StoreError::LastToken`] for the last active primary token; or the database cannot be
    /// written.
    pub async fn toggle_token(
        &self,
        workspace: WorkspaceId,
        id: TokenId,
    ) -> Result<Option<TokenRow>, StoreError> {
        let changed = self.change_token(workspace, id, TokenChange::Toggle).await?;
        if !changed {
            return Ok(None);
        }
        let tokens = self.store.list_tokens(workspace).await?;
        Ok(tokens.into_iter().find(|token| token.id == id))
    }

    /// Deletes a token; `false` if the workspace has no such token.
    ///
    /// # Errors
    /// [`StoreError::LastToken`] for the last active primary token; or the database cannot be
    /// written.
    pub async fn delete_token(
        &self,
        workspace: WorkspaceId,
        id: TokenId,
    ) -> Result<bool, StoreError> {
        self.change_token(workspace, id, TokenChange::Delete).await
    }

    async fn change_token(
        &self,
        workspace: WorkspaceId,
        id: TokenId,
        change: TokenChange,
    ) -> Result<bool, StoreError> {
        let action = match change {
            TokenChange::Toggle => "token.toggle",
            TokenChange::Delete => "token.delete",
        };
        let changed = self
            .store
            .write_noted(
                "change a token",
                self.actor.or_in(workspace).did(action, id.to_string()),
                (workspace, id, change, now()),
                |(workspace, id, change, at), conn| {
                    Box::pin(change_unless_last(*workspace, *id, *change, *at, conn))
                },
                |changed| *changed == Some(true),
            )
            .await?;
        self.store.inner.identities.forget(|_, identity| identity.token == id);
        changed.ok_or(StoreError::LastToken)
    }
}

/// `false` once a token has run out.
fn is_current(identity: &Identity) -> bool {
    identity.expires_at.is_none_or(|at| now() < at)
}

#[derive(Clone, Copy)]
enum TokenChange {
    Toggle,
    Delete,
}

/// The token that comes with a new workspace.
pub(crate) fn first_token(workspace: WorkspaceId) -> TokenRow {
    let first = NewToken { kind: TokenKind::WorkspacePrimary, name: String::new(), ttl: None };
    new_row(workspace, first)
}

fn new_row(workspace: WorkspaceId, wanted: NewToken) -> TokenRow {
    let at = now();
    let end = |ttl: Duration| UnixMicros::try_from(ttl.as_micros()).unwrap_or(UnixMicros::MAX);
    TokenRow {
        id: TokenId(new_uuid()),
        workspace,
        kind: wanted.kind,
        name: wanted.name,
        expires_at: wanted.ttl.map(|ttl| at.saturating_add(end(ttl))),
        active: true,
        reusable: true,
        created_at: at,
        updated_at: at,
    }
}

fn kind(columns: Columns<'_>) -> Result<TokenKind, StoreError> {
    let text = columns.text("kind")?;
    TokenKind::parse(&text)
        .ok_or_else(|| StoreError::Corrupt { what: TOKEN, why: format!("unknown kind `{text}`") })
}

fn token_row(row: &sqlx::sqlite::SqliteRow) -> Result<TokenRow, StoreError> {
    let columns = Columns { what: TOKEN, row };
    Ok(TokenRow {
        id: TokenId(columns.uuid("id")?),
        workspace: WorkspaceId(columns.uuid("workspace")?),
        kind: kind(columns)?,
        name: columns.text("name")?,
        expires_at: columns.optional_number("expires_at")?,
        active: columns.flag("active")?,
        reusable: columns.flag("reusable")?,
        created_at: columns.number("created_at")?,
        updated_at: columns.number("updated_at")?,
    })
}

async fn insert_first_workspace(
    row: &TokenRow,
    hash: &[u8; 32],
    conn: &mut SqliteConnection,
) -> Result<bool, sqlx::Error> {
    let made = sqlx::query(
        "INSERT INTO workspaces (id, name, created_at) SELECT ?, 'default', ? \
         WHERE NOT EXISTS (SELECT 1 FROM workspaces)",
    )
    .bind(&row.workspace.0.as_bytes()[..])
    .bind(row.created_at)
    .execute(&mut *conn)
    .await?
    .rows_affected()
        > 0;
    if made {
        insert_token(row, hash, conn).await?;
    }
    Ok(made)
}

pub(crate) async fn insert_token(
    row: &TokenRow,
    hash: &[u8; 32],
    conn: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO tokens \
         (id, workspace, kind, name, expires_at, hash, active, reusable, created_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&row.id.0.as_bytes()[..])
    .bind(&row.workspace.0.as_bytes()[..])
    .bind(row.kind.as_str())
    .bind(&row.name)
    .bind(row.expires_at)
    .bind(&hash[..])
    .bind(row.active)
    .bind(row.reusable)
    .bind(row.created_at)
    .bind(row.updated_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Adds a token unless the workspace has enough of them: `false`. Those that have run out do not
/// count, and go when they would be too many.
async fn insert_one_more(
    row: &TokenRow,
    hash: &[u8; 32],
    conn: &mut SqliteConnection,
) -> Result<bool, sqlx::Error> {
    let workspace = &row.workspace.0.as_bytes()[..];
    let (all, live): (i64, i64) = sqlx::query_as(
        "SELECT count(*), count(*) FILTER (WHERE expires_at IS NULL OR expires_at > ?2) \
         FROM tokens WHERE workspace = ?1",
    )
    .bind(workspace)
    .bind(row.created_at)
    .fetch_one(&mut *conn)
    .await?;
    if live >= MOST_TOKENS {
        return Ok(false);
    }
    if all >= MOST_TOKENS {
        sqlx::query("DELETE FROM tokens WHERE workspace = ? AND expires_at <= ?")
            .bind(workspace)
            .bind(row.created_at)
            .execute(&mut *conn)
            .await?;
    }
    insert_token(row, hash, conn).await?;
    Ok(true)
}

/// Nothing if the token is the last active primary one of its workspace; else whether it is there.
async fn change_unless_last(
    workspace: WorkspaceId,
    id: TokenId,
    change: TokenChange,
    at: i64,
    conn: &mut SqliteConnection,
) -> Result<Option<bool>, sqlx::Error> {
    let last: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM tokens WHERE workspace = ?1 AND id = ?2 AND active = 1 \
         AND kind = 'workspace_primary') AND NOT EXISTS (SELECT 1 FROM tokens \
         WHERE workspace = ?1 AND id <> ?2 AND active = 1 AND kind = 'workspace_primary')",
    )
    .bind(&workspace.0.as_bytes()[..])
    .bind(&id.0.as_bytes()[..])
    .fetch_one(&mut *conn)
    .await?;
    if last {
        return Ok(None);
    }
    let query = match change {
        TokenChange::Toggle => sqlx::query(
            "UPDATE tokens SET active = 1 - active, updated_at = ?3 WHERE workspace = ?1 AND id = ?2",
        ),
        TokenChange::Delete => sqlx::query("DELETE FROM tokens WHERE workspace = ?1 AND id = ?2"),
    };
    let done = query
        .bind(&workspace.0.as_bytes()[..])
        .bind(&id.0.as_bytes()[..])
        .bind(at)
        .execute(conn)
        .await?;
    Ok(Some(done.rows_affected() > 0))
}
