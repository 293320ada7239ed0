//! Which stub a request is for, and whether its caller may.

use std::sync::Arc;

use axum::http::request::Parts;
use metal9_store::StubRow;
use metal9_types::StubKind;

use crate::accept::find_stub;
use crate::auth::{Caller, http_bearer, query_token};
use crate::deployed::{self, Callable};
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
    let header = http_bearer(&parts.headers).map(str::to_owned);
    header.or_else(|| query_token(&parts.uri))
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
            shared.rates.admit(stub.workspace)?;
            return Ok(Self { caller: None, peer });
        }
        let caller = shared.counted_caller(token(parts).as_deref(), &peer).await?;
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
        shared.counted_caller(token(parts).as_deref(), peer).await?;
        return Err(missing(id));
    };
    let access = Access::of(shared, &stub, parts, peer).await?;
    Ok((Callable::of(shared, stub).await?.into_stub(), access))
}

/// The stub that a deployment's name and version stand for in the caller's workspace.
pub(crate) async fn named_stub(
    shared: &Shared,
    kind: StubKind,
    (name, version): (&str, &str),
    parts: &Parts,
    peer: &str,
) -> Result<(Arc<StubRow>, Access), ApiError> {
    let caller = shared.counted_caller(token(parts).as_deref(), peer).await?;
    let stub = deployed::named(shared, caller.workspace, kind, name, version).await?;
    Ok((stub.into_stub(), Access { caller: Some(caller), peer: peer.to_owned() }))
}

/// A stub that answers anybody.
pub(crate) async fn public_stub(
    shared: &Shared,
    id: &str,
    peer: &str,
) -> Result<(Arc<StubRow>, Access), ApiError> {
    let open = |stub: &Arc<StubRow>| !stub.config.serving.authorized;
    let stub = find(shared, id).await?.filter(open).ok_or_else(|| missing(id))?;
    shared.rates.admit(stub.workspace)?;
    let stub = Callable::of(shared, stub).await?.into_stub();
    Ok((stub, Access { caller: None, peer: peer.to_owned() }))
}

/// The stub of this id, if it answers requests.
async fn find(shared: &Shared, id: &str) -> Result<Option<Arc<StubRow>>, ApiError> {
    Ok(find_stub(shared, id).await?.filter(|stub| stub.config.kind.is_served()))
}
