//! Who calls is asked before the call's body is read.
//!
//! A generated service reads a message whole before its handler can ask for a token, so without
//! this, strangers could make the gateway hold as many messages of the largest size as they like.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body_util::Limited;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tower::{Layer, Service};

use super::large;
use crate::auth::PEER_HEADER;
use crate::error::ApiError;
use crate::shared::SharedRef;

/// Bytes of a call that strangers may make: a token and a few names.
const STRANGERS_BYTES: usize = 64 * 1024;

/// What a call needs before its body is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    /// A token of a workspace or of a job.
    Caller,
    /// The token of a job that may have ended a moment ago.
    Signer,
    /// Nothing, but then it must be small.
    Little,
    /// Nothing: the handler asks before it reads.
    Nothing,
}

fn need(path: &str) -> Need {
    let mut parts = path.trim_start_matches('/').split('/');
    match (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) {
        ("gateway.GatewayService", "SignPayload") => Need::Signer,
        ("gateway.GatewayService", "Authorize") => Need::Little,
        (
            "metal9.worker.v1.WorkerService",
            "Session" | "PushResult" | "PushVolumeFile" | "Tunnel",
        ) => Need::Nothing,
        (service, _) if service.starts_with("metal9.worker.") => Need::Little,
        (service, _) if service.starts_with("grpc.") => Need::Little,
        _ => Need::Caller,
    }
}

/// Adds [`Gate`] to a service.
#[derive(Clone)]
pub(crate) struct GateLayer {
    shared: SharedRef,
}

impl GateLayer {
    pub(crate) fn new(shared: SharedRef) -> Self {
        Self { shared }
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { shared: SharedRef::clone(&self.shared), inner }
    }
}

/// Asks who calls.
#[derive(Clone)]
pub(crate) struct Gate<S> {
    shared: SharedRef,
    inner: S,
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The one that is ready is used up; its copy waits for the next call.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        let need = need(request.uri().path());
        let shared = SharedRef::clone(&self.shared);
        Box::pin(async move {
            let request = match need {
                Need::Nothing => request,
                Need::Little => request.map(|body| Body::new(Limited::new(body, STRANGERS_BYTES))),
                Need::Caller | Need::Signer => {
                    if let Err(error) = known(&shared, need, request.headers()).await {
                        return Ok(tonic::Status::from(error).into_http());
                    }
                    request
                }
            };
            inner.call(request).await.map(large::in_words)
        })
    }
}

/// Finds out who calls, and counts the call.
async fn known(shared: &SharedRef, need: Need, headers: &http::HeaderMap) -> Result<(), ApiError> {
    let mut metadata = MetadataMap::new();
    for name in ["authorization", PEER_HEADER] {
        if let Some(value) = headers.get(name).and_then(|value| value.to_str().ok())
            && let Ok(value) = value.parse()
        {
            metadata.insert(name, value);
        }
    }
    let caller = match need {
        Need::Signer => shared.signing_caller(&metadata).await?,
        _ => shared.grpc_caller(&metadata).await?,
    };
    shared.rates.admit(caller.workspace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_strangers_need_is_open_to_them() {
        assert_eq!(need("/function.FunctionService/FunctionInvoke"), Need::Caller);
        assert_eq!(need("/gateway.GatewayService/PutObjectStream"), Need::Caller);
        assert_eq!(need("/gateway.GatewayService/Authorize"), Need::Little);
        assert_eq!(need("/metal9.worker.v1.WorkerService/Join"), Need::Little);
        assert_eq!(need("/metal9.worker.v1.WorkerService/Session"), Need::Nothing);
        assert_eq!(need("/nobody.Knows/This"), Need::Caller);
        assert_eq!(need(""), Need::Caller);
    }
}
