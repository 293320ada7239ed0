//! Who is calling.

use std::time::Duration;

use axum::http::header::{AUTHORIZATION, HeaderMap};
use axum::http::uri::Uri;
use metal9_store::{Actor, Identity, TokenKind};
use metal9_tasks::CancellationToken;
use metal9_types::{TaskId, WorkspaceId};
use tokio::sync::watch;
use tonic::metadata::MetadataMap;

use crate::error::ApiError;
use crate::hub::Snapshot;
use crate::shared::Shared;

/// What a caller may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rights {
    /// Everything in the workspace.
    Owner,
    /// Run things, but not manage tokens.
    Restricted,
    /// What the SDK needs inside a running job: calls of the workspace's functions, its tasks, the
    /// signature of a callback.
    Job(TaskId),
}

/// A caller that showed a valid token.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Its workspace.
    pub(crate) workspace: WorkspaceId,
    /// The workspace's name.
    pub(crate) workspace_name: String,
    /// What it may do.
    pub(crate) rights: Rights,
    /// Who this is in the audit log.
    pub(crate) actor: Actor,
    /// How long it may go on.
    pub(crate) leave: Leave,
}

/// How long a caller may go on with what it has begun: as long as the token is good.
#[derive(Clone, Debug)]
pub(crate) enum Leave {
    /// Until the token is deleted, switched off or runs out.
    Token { revoked: CancellationToken, left: Option<Duration> },
    /// Until the job's task has ended; nothing if it ended just now.
    Job(Option<watch::Receiver<Snapshot>>),
}

impl Leave {
    /// Resolves with the reason when the caller may not go on.
    pub(crate) async fn over(&mut self) -> ApiError {
        match self {
            Self::Token { revoked, left: None } => {
                revoked.cancelled().await;
                ApiError::Unauthenticated("the token was revoked")
            }
            Self::Token { revoked, left: Some(left) } => tokio::select! {
                () = revoked.cancelled() => ApiError::Unauthenticated("the token was revoked"),
                () = tokio::time::sleep(*left) => {
                    ApiError::Unauthenticated("the token has expired")
                }
            },
            Self::Job(task) => {
                if let Some(task) = task {
                    // A task that is not watched any more has ended too.
                    let _ = task.wait_for(|snapshot| snapshot.ended.is_some()).await;
                }
                ApiError::Unauthenticated(TASK_ENDED)
            }
        }
    }
}

const UNKNOWN_TOKEN: &str = "invalid or missing token: the gateway knows no such token that is in \
     force; it may have been revoked, have run out or be another gateway's\n\
     hint: `beta9 config list` shows which token is used; make a new one with `metal9 token create` \
     on the gateway's machine";
const TASK_ENDED: &str = "the task of this token has ended";
/// The least that must be left of an expiring token for a stream: rounding must not end it early.
const TICK: Duration = Duration::from_millis(1);

/// Where the server itself writes a caller's address; what callers write there is thrown away.
pub(crate) const PEER_HEADER: &str = "x-metal9-peer";

/// Where an HTTP request's token may stand if there can be no header.
pub(crate) const TOKEN_PARAMETER: &str = "auth_token";

/// The address of a gRPC caller, without the port.
pub(crate) fn grpc_peer(metadata: &MetadataMap) -> &str {
    metadata.get(PEER_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

impl Caller {
    fn job(
        workspace: WorkspaceId,
        workspace_name: String,
        task: TaskId,
        peer: &str,
        watch: Option<watch::Receiver<Snapshot>>,
    ) -> Self {
        Self {
            workspace,
            workspace_name,
            rights: Rights::Job(task),
            actor: Actor::job(workspace, task, peer),
            leave: Leave::Job(watch),
        }
    }

    /// Refuses callers that are jobs or restricted tokens.
    pub(crate) fn require_owner(&self) -> Result<(), ApiError> {
        match self.rights {
            Rights::Owner => Ok(()),
            _ => Err(ApiError::Forbidden("this token may not manage tokens or workers")),
        }
    }

    /// Refuses callers that are jobs.
    pub(crate) fn require_client(&self) -> Result<(), ApiError> {
        match self.rights {
            Rights::Job(_) => Err(ApiError::Forbidden("a running job may not do this")),
            _ => Ok(()),
        }
    }
}

impl Shared {
    /// Refuses callers other than the owner of the oldest workspace, who looks after the
    /// installation.
    pub(crate) async fn require_operator(&self, caller: &Caller) -> Result<(), ApiError> {
        caller.require_owner()?;
        let first = self.store.default_workspace().await?;
        if first.is_some_and(|(workspace, _)| workspace == caller.workspace) {
            return Ok(());
        }
        Err(ApiError::Forbidden(
            "only the owner of the installation's first workspace may manage workspaces, make pools \
             and add workers",
        ))
    }
}

/// The bearer token of a request's `authorization`, if it has one.
fn bearer(header: Option<&str>) -> Option<&str> {
    let (scheme, token) = header?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

/// The bearer token of an HTTP request.
pub(crate) fn http_bearer(headers: &HeaderMap) -> Option<&str> {
    bearer(headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()))
}

/// The token in an HTTP request's query.
pub(crate) fn query_token(uri: &Uri) -> Option<String> {
    let mut pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let (_, token) = pairs.find(|(name, _)| name == TOKEN_PARAMETER)?;
    Some(token.into_owned()).filter(|token| !token.is_empty())
}

/// The bearer token of a gRPC call.
pub(crate) fn grpc_bearer(metadata: &MetadataMap) -> Option<&str> {
    bearer(metadata.get("authorization").and_then(|value| value.to_str().ok()))
}

/// The version of the SDK that calls, as `0.1.291`; empty if it does not say.
pub(crate) fn sdk_version(metadata: &MetadataMap) -> String {
    metadata
        .get("x-beta9-caller")
        .and_then(|value| value.to_str().ok())
        .and_then(|caller| caller.rsplit_once('/'))
        .map(|(_, version)| version.trim())
        .filter(|version| version.chars().all(|c| c.is_ascii_alphanumeric() || c == '.'))
        .unwrap_or_default()
        .to_owned()
}

impl Shared {
    /// Finds out who shows this token, from this address. Failures are counted.
    pub(crate) async fn caller(&self, token: Option<&str>, peer: &str) -> Result<Caller, ApiError> {
        let found = self.find_caller(token, peer).await;
        if matches!(found, Err(ApiError::Unauthenticated(_))) {
            self.intruders.note(peer, "token");
        }
        found
    }

    /// The same for a request that counts against what its workspace may make a second.
    pub(crate) async fn counted_caller(
        &self,
        token: Option<&str>,
        peer: &str,
    ) -> Result<Caller, ApiError> {
        let caller = self.caller(token, peer).await?;
        self.rates.admit(caller.workspace)?;
        Ok(caller)
    }

    async fn find_caller(&self, token: Option<&str>, peer: &str) -> Result<Caller, ApiError> {
        let Some(token) = token else {
            return Err(ApiError::Unauthenticated(UNKNOWN_TOKEN));
        };
        if let Some((workspace, task)) = self.signer.verify_job_token(token) {
            let live = self.hub.get(task).ok_or(ApiError::Unauthenticated(TASK_ENDED))?;
            let name = self.workspace_name(workspace).await?;
            return Ok(Caller::job(workspace, name, task, peer, Some(live.watch())));
        }
        let unknown = || ApiError::Unauthenticated(UNKNOWN_TOKEN);
        let identity: Identity = self.store.authenticate(token).await?.ok_or_else(unknown)?;
        let revoked = self.revocations.watch(identity.token);
        // Looked at again, now that a revocation cannot be missed.
        let identity = match self.store.authenticate(token).await? {
            Some(again) if again.token == identity.token => again,
            _ => return Err(unknown()),
        };
        let left = identity.expires_at.map(|at| {
            let left = at.saturating_sub(crate::timestamps::now());
            Duration::from_micros(u64::try_from(left).unwrap_or_default()) + TICK
        });
        let rights = match identity.kind {
            TokenKind::WorkspaceRestricted => Rights::Restricted,
            _ => Rights::Owner,
        };
        Ok(Caller {
            workspace: identity.workspace,
            workspace_name: identity.workspace_name,
            rights,
            actor: Actor::token(identity.workspace, identity.token, peer),
            leave: Leave::Token { revoked, left },
        })
    }

    async fn workspace_name(&self, id: WorkspaceId) -> Result<String, ApiError> {
        Ok(self.store.workspace_name(id).await?.unwrap_or_default())
    }

    /// Finds out who wants a signature: also a job whose task has just ended, for its callback.
    pub(crate) async fn signing_caller(&self, metadata: &MetadataMap) -> Result<Caller, ApiError> {
        let token = grpc_bearer(metadata);
        let job = token.and_then(|token| self.signer.verify_job_token(token));
        match job {
            Some((workspace, task)) if self.hub.ended_just_now(task) => {
                let name = self.workspace_name(workspace).await?;
                Ok(Caller::job(workspace, name, task, grpc_peer(metadata), None))
            }
            _ => self.caller(token, grpc_peer(metadata)).await,
        }
    }

    /// Finds out who makes this gRPC call.
    pub(crate) async fn grpc_caller(&self, metadata: &MetadataMap) -> Result<Caller, ApiError> {
        self.caller(grpc_bearer(metadata), grpc_peer(metadata)).await
    }

    /// The same for calls that are not for jobs.
    pub(crate) async fn grpc_client(&self, metadata: &MetadataMap) -> Result<Caller, ApiError> {
        let caller = self.grpc_caller(metadata).await?;
        caller.require_client()?;
        Ok(caller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bearer_tokens_are_read() {
        assert_eq!(bearer(Some("Bearer abc")), Some("abc"));
        assert_eq!(bearer(Some("bearer  abc ")), Some("abc"));
        assert_eq!(bearer(Some("Basic abc")), None);
        assert_eq!(bearer(Some("Bearer ")), None);
        assert_eq!(bearer(None), None);
    }

    #[test]
    fn the_sdk_version_comes_from_the_caller_header() {
        let mut metadata = MetadataMap::new();
        assert_eq!(sdk_version(&metadata), "");
        metadata.insert("x-beta9-caller", "cli/0.1.291".parse().unwrap());
        assert_eq!(sdk_version(&metadata), "0.1.291");
        metadata.insert("x-beta9-caller", "cli/0.1; rm".parse().unwrap());
        assert_eq!(sdk_version(&metadata), "");
    }
}
