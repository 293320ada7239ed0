//! Administration: what somebody does, noted in the audit log with who it was.

use std::time::Duration;

use metal9_types::{TokenId, WorkerId, WorkspaceId};
use uuid::Uuid;

use crate::{
    Actor, Joined, NewToken, SecretRow, Store, StoreError, TokenKind, TokenRow, UnixMicros,
};

/// The store in somebody's hands. Every change is in the audit log if it is in the database.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    pub(crate) store: &'a Store,
    pub(crate) actor: &'a Actor,
}

impl Store {
    /// What `actor` does.
    #[must_use]
    pub fn by<'a>(&'a self, actor: &'a Actor) -> By<'a> {
        By { store: self, actor }
    }

    /// As [`By::create_token`], by the gateway, without a name or an end.
    ///
    /// # Errors
    /// As there.
    pub async fn create_token(
        &self,
        workspace: WorkspaceId,
        kind: TokenKind,
    ) -> Result<(TokenRow, String), StoreError> {
        let token = NewToken { kind, name: String::new(), ttl: None };
        self.by(&Actor::gateway()).create_token(workspace, token).await
    }

    /// As [`By::toggle_token`], by the gateway.
    ///
    /// # Errors
    /// As there.
    pub async fn toggle_token(
        &self,
        workspace: WorkspaceId,
        id: TokenId,
    ) -> Result<Option<TokenRow>, StoreError> {
        self.by(&Actor::gateway()).toggle_token(workspace, id).await
    }

    /// As [`By::delete_token`], by the gateway.
    ///
    /// # Errors
    /// As there.
    pub async fn delete_token(
        &self,
        workspace: WorkspaceId,
        id: TokenId,
    ) -> Result<bool, StoreError> {
        self.by(&Actor::gateway()).delete_token(workspace, id).await
    }

    /// As [`By::create_join_token`], by the gateway.
    ///
    /// # Errors
    /// As there.
    pub async fn create_join_token(
        &self,
        workspace: WorkspaceId,
        pool: &str,
        ttl: Duration,
        single_use: bool,
    ) -> Result<String, StoreError> {
        let by = Actor::gateway();
        let made = self.by(&by).create_join_token(workspace, pool, ttl, single_use).await?;
        Ok(made.1)
    }

    /// As [`By::join_worker`], from nowhere.
    ///
    /// # Errors
    /// As there.
    pub async fn join_worker(&self, token: &str, hostname: &str) -> Result<Joined, StoreError> {
        self.by(&Actor::nobody("")).join_worker(token, hostname, "").await
    }

    /// As [`By::remove_worker`], by the gateway.
    ///
    /// # Errors
    /// As there.
    pub async fn remove_worker(
        &self,
        workspace: WorkspaceId,
        id: WorkerId,
    ) -> Result<bool, StoreError> {
        self.by(&Actor::gateway()).remove_worker(workspace, id).await
    }

    /// As [`By::create_secret`], by the gateway.
    ///
    /// # Errors
    /// As there.
    pub async fn create_secret(
        &self,
        workspace: WorkspaceId,
        name: &str,
        value: &str,
    ) -> Result<SecretRow, StoreError> {
        self.by(&Actor::gateway()).create_secret(workspace, name, value).await
    }

    /// As [`By::update_secret`], by the gateway.
    ///
    /// # Errors
    /// As there.
    pub async fn update_secret(
        &self,
        workspace: WorkspaceId,
        name: &str,
        value: &str,
    ) -> Result<bool, StoreError> {
        self.by(&Actor::gateway()).update_secret(workspace, name, value).await
    }

    /// As [`By::delete_secret`], by the gateway.
    ///
    /// # Errors
    /// As there.
    pub async fn delete_secret(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<bool, StoreError> {
        self.by(&Actor::gateway()).delete_secret(workspace, name).await
    }
}

/// A join token, without its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinTokenRow {
    /// Its public name.
    pub id: Uuid,
    /// The pool that workers join with it.
    pub pool: String,
    /// `true` if one worker may join with it, and no other.
    pub single_use: bool,
    /// How many workers have joined with it.
    pub used: i64,
    /// `true` if it was taken back.
    pub revoked: bool,
    /// When it runs out.
    pub expires_at: UnixMicros,
    /// When it was made.
    pub created_at: UnixMicros,
}

impl JoinTokenRow {
    /// Whether a worker may still join with it: `open`, or why none may.
    #[must_use]
    pub fn state(&self, now: UnixMicros) -> &'static str {
        if self.revoked {
            "revoked"
        } else if self.expires_at <= now {
            "expired"
        } else if self.single_use && self.used > 0 {
            "used"
        } else {
            "open"
        }
    }

    /// Whether it is for one worker, which may still join with it.
    #[must_use]
    pub fn expects_one(&self, now: UnixMicros) -> bool {
        self.single_use && self.state(now) == "open"
    }
}
