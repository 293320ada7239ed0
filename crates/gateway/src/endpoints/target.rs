//! Which stub a request is for, and whether its caller may.

use std::str::FromStr;
use std::sync::Arc;

use axum::http::request::Parts;
use metal9_store::StubRow;
use metal9_types::{StubId, StubKind};

use super::headers::TOKEN_PARAMETER;
use crate::auth::{Caller, bearer};
use crate::deployed;
use crate::error::ApiError;
use crate::shared::Shared;
use crate::validate::shown;

/// A caller that may have the answer of a stub.
#[derive(Debug)]
pub(crate) struct Access {
    /// Who showed a token for it; nothing if anybody may call.
    pub(crate) caller: Option<Caller>,
    /// The caller's address, without the port.
    pub(crate) peer: String,
}

/// The token of a request: in its header, or in its query.
fn token(parts: &Parts) -> Option<String> {
    let header = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
    if let Some(token) = bearer(header) {
        return Some(token.to_owned());
    }
    let mut pairs = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let (_, value) = pairs.find(|(name, _)| name == TOKEN_PARAMETER)?;
    Some(value.into_owned()).filter(|value| !value.is_empty())
}

impl Access {
    /// Lets a caller with a token of the stub's workspace in, or anybody if the stub lets them.
    pub(crate) async fn of(
        shared: &Shared,
        stub: &StubRow,
        parts: &Parts,
        peer: &str,
    ) -> Result<Self, ApiError> {
        let peer = peer.to_owned();
        if !stub.config.serving.authorized {
            return Ok(Self { caller: None, peer });
        }
        let caller = shared.caller(token(parts).as_deref(), &peer).await?;
        if caller.workspace != stub.workspace {
            return Err(missing(&stub.id.to_string()));
        }
        Ok(Self { caller: Some(caller), peer })
    }
}

fn missing(id: &str) -> ApiError {
    ApiError::NotFound { kind: "stub", id: shown(id) }
}

/// A stub that answers requests, named by its id, for a caller that may have its answer. A caller
/// without a token learns nothing of which stubs there are.
pub(crate) async fn own_stub(
    shared: &Shared,
    id: &str,
    parts: &Parts,
    peer: &str,
) -> Result<(Arc<StubRow>, Access), ApiError> {
    let stub = find(shared, id).await?;
    let Some(stub) = stub else {
        shared.caller(token(parts).as_deref(), peer).await?;
        return Err(missing(id));
    };
    let access = Access::of(shared, &stub, parts, peer).await?;
    deployed::require_callable(shared, &stub).await?;
    Ok((stub, access))
}

/// The stub that a deployment's name and version stand for in the caller's workspace.
pub(crate) async fn named_stub(
    shared: &Shared,
    kind: StubKind,
    (name, version): (&str, &str),
    parts: &Parts,
    peer: &str,
) -> Result<(Arc<StubRow>, Access), ApiError> {
    let caller = shared.caller(token(parts).as_deref(), peer).await?;
    let stub = deployed::named(shared, caller.workspace, kind, name, version).await?;
    Ok((stub, Access { caller: Some(caller), peer: peer.to_owned() }))
}

/// A stub that answers anybody.
pub(crate) async fn public_stub(
    shared: &Shared,
    id: &str,
    peer: &str,
) -> Result<(Arc<StubRow>, Access), ApiError> {
    let open = |stub: &Arc<StubRow>| !stub.config.serving.authorized;
    let stub = find(shared, id).await?.filter(open).ok_or_else(|| missing(id))?;
    deployed::require_callable(shared, &stub).await?;
    Ok((stub, Access { caller: None, peer: peer.to_owned() }))
}

async fn find(shared: &Shared, id: &str) -> Result<Option<Arc<StubRow>>, ApiError> {
    let Ok(id) = StubId::from_str(id) else { return Ok(None) };
    let stub = shared.store.stub(id).await?;
    Ok(stub.filter(|stub| stub.config.kind.is_served()))
}
