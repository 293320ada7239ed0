//! Who is calling.

use metal9_store::{Identity, TokenKind};
use metal9_types::{TaskId, WorkspaceId};
use tonic::metadata::MetadataMap;

use crate::error::ApiError;
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
}

impl Caller {
    fn job(workspace: WorkspaceId, task: TaskId) -> Self {
        Self { workspace, workspace_name: "default".into(), rights: Rights::Job(task) }
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

/// The bearer token of a request's `authorization`, if it has one.
pub(crate) fn bearer(header: Option<&str>) -> Option<&str> {
    let (scheme, token) = header?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
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
    /// Finds out who shows this token.
    pub(crate) async fn caller(&self, token: Option<&str>) -> Result<Caller, ApiError> {
        let Some(token) = token else {
            return Err(ApiError::Unauthenticated("invalid or missing token"));
        };
        if let Some((workspace, task)) = self.signer.verify_job_token(token) {
            if !self.hub.is_live(task) {
                return Err(ApiError::Unauthenticated("the task of this token has ended"));
            }
            return Ok(Caller::job(workspace, task));
        }
        let identity: Option<Identity> = self.store.authenticate(token).await?;
        let identity = identity.ok_or(ApiError::Unauthenticated("invalid or missing token"))?;
        let rights = match identity.kind {
            TokenKind::WorkspaceRestricted => Rights::Restricted,
            _ => Rights::Owner,
        };
        Ok(Caller {
            workspace: identity.workspace,
            workspace_name: identity.workspace_name,
            rights,
        })
    }

    /// Finds out who wants a signature: also a job whose task has just ended, for its callback.
    pub(crate) async fn signing_caller(&self, metadata: &MetadataMap) -> Result<Caller, ApiError> {
        let token = grpc_bearer(metadata);
        let job = token.and_then(|token| self.signer.verify_job_token(token));
        match job {
            Some((workspace, task)) if self.hub.ended_just_now(task) => {
                Ok(Caller::job(workspace, task))
            }
            _ => self.caller(token).await,
        }
    }

    /// Finds out who makes this gRPC call.
    pub(crate) async fn grpc_caller(&self, metadata: &MetadataMap) -> Result<Caller, ApiError> {
        self.caller(grpc_bearer(metadata)).await
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
