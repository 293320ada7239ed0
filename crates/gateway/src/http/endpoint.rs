//! Requests to endpoints and web applications, by the id of their stub or the name of a deployment.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Method, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use metal9_types::StubKind;

use super::error::HttpError;
use super::peer;
use crate::endpoints::{Access, forward, named_stub, own_stub, public_stub};
use crate::shared::SharedRef;

/// The routes.
pub(super) fn routes() -> Router<SharedRef> {
    Router::new()
        .route("/endpoint/id/{stub}", any(by_id))
        .route("/endpoint/id/{stub}/", any(by_id))
        .route("/endpoint/id/{stub}/health", get(by_id))
        .route("/endpoint/id/{stub}/warmup", post(warm_up))
        .route("/endpoint/public/{stub}", any(public))
        .route("/endpoint/public/{stub}/", any(public))
        .route("/endpoint/public/{stub}/health", get(public))
        .route("/endpoint/public/{stub}/warmup", post(public))
        .route("/asgi/id/{stub}", any(by_id))
        .route("/asgi/id/{stub}/", any(by_id))
        .route("/asgi/id/{stub}/warmup", post(warm_up))
        .route("/asgi/id/{stub}/{*path}", any(by_id))
        .route("/asgi/public/{stub}", any(public))
        .route("/asgi/public/{stub}/", any(public))
        .route("/asgi/public/{stub}/{*path}", any(public))
        .route("/endpoint/{name}", any(by_name))
        .route("/endpoint/{name}/", any(by_name))
        .route("/endpoint/{name}/{*path}", any(by_name))
        .route("/asgi/{name}", any(by_name))
        .route("/asgi/{name}/", any(by_name))
        .route("/asgi/{name}/{*path}", any(by_name))
}

/// What comes after so many parts of a path, as it was written; a slash alone is nothing.
pub(crate) fn rest(path: &str, parts: usize) -> &str {
    let start = path.match_indices('/').nth(parts).map_or(path.len(), |(at, _)| at);
    let rest = &path[start..];
    if rest == "/" { "" } else { rest }
}

/// `/asgi`, `/id` and the stub.
const PARTS: usize = 3;

async fn by_id(State(shared): State<SharedRef>, request: Request<Body>) -> Response {
    let path = request.uri().path().to_owned();
    let peer = peer(request.extensions());
    let id = path.split('/').nth(PARTS).unwrap_or_default();
    let (parts, body) = request.into_parts();
    match own_stub(&shared, id, &parts, &peer).await {
        Ok((stub, access)) => {
            let request = Request::from_parts(parts, body);
            forward(&shared, &stub, access, rest(&path, PARTS), request).await
        }
        Err(error) => HttpError::from(error).into_response(),
    }
}

async fn public(State(shared): State<SharedRef>, request: Request<Body>) -> Response {
    let path = request.uri().path().to_owned();
    let id = path.split('/').nth(PARTS).unwrap_or_default();
    let peer = peer(request.extensions());
    match public_stub(&shared, id, &peer).await {
        Ok((stub, _)) if warms_up(&request, rest(&path, PARTS)) => {
            crate::endpoints::warm_up(&shared, &stub).await
        }
        Ok((stub, access)) => forward(&shared, &stub, access, rest(&path, PARTS), request).await,
        Err(error) => HttpError::from(error).into_response(),
    }
}

/// Whether a request is for a container to be started, rather than for what is in it.
fn warms_up<B>(request: &Request<B>, rest: &str) -> bool {
    rest == "/warmup" && request.method() == Method::POST
}

/// What a path names: the kind of stub, the deployment's name, its version (empty for the newest), and
/// how many parts of the path that took.
fn deployment(path: &str) -> Option<(StubKind, &str, &str, usize)> {
    let mut parts = path.split('/').skip(1);
    let kind = StubKind::parse(parts.next()?)?;
    let name = parts.next()?;
    let version = parts.next().unwrap_or_default();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match version == "latest" || version.strip_prefix('v').is_some_and(is_number) {
        true => Some((kind, name, version, PARTS)),
        false => Some((kind, name, "", PARTS - 1)),
    }
}

async fn by_name(State(shared): State<SharedRef>, request: Request<Body>) -> Response {
    let path = request.uri().path().to_owned();
    let Some((kind, name, version, taken)) = deployment(&path) else {
        return super::error::no_such_route(request.uri().clone()).await;
    };
    let peer = peer(request.extensions());
    let rest = rest(&path, taken);
    let warms_up = warms_up(&request, rest);
    let (parts, body) = request.into_parts();
    let found = named_stub(&shared, kind, (name, version), &parts, &peer).await;
    match found {
        Ok((stub, _)) if warms_up => crate::endpoints::warm_up(&shared, &stub).await,
        Ok((stub, access)) => {
            forward(&shared, &stub, access, rest, Request::from_parts(parts, body)).await
        }
        Err(error) => HttpError::from(error).into_response(),
    }
}

/// Starts a container, if none is there.
async fn warm_up(
    State(shared): State<SharedRef>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Response {
    let peer = peer(request.extensions());
    let (parts, _) = request.into_parts();
    match own_stub(&shared, &id, &parts, &peer).await {
        Ok((stub, Access { .. })) => crate::endpoints::warm_up(&shared, &stub).await,
        Err(error) => HttpError::from(error).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_deployment_and_maybe_a_version() {
        let endpoint = StubKind::Endpoint;
        let asgi = StubKind::Asgi;
        for (path, expected) in [
            ("/endpoint/api", (endpoint, "api", "", "")),
            ("/endpoint/api/v2", (endpoint, "api", "v2", "")),
            ("/endpoint/api/latest/health", (endpoint, "api", "latest", "/health")),
            ("/asgi/web/v12/a/b", (asgi, "web", "v12", "/a/b")),
            ("/asgi/web/very/long", (asgi, "web", "", "/very/long")),
            ("/asgi/web/v", (asgi, "web", "", "/v")),
        ] {
            let (kind, name, version, taken) = deployment(path).unwrap();
            assert_eq!((kind, name, version, rest(path, taken)), expected);
        }
    }

    #[test]
    fn the_rest_of_a_path_is_as_it_was_written() {
        assert_eq!(rest("/asgi/id/x", PARTS), "");
        assert_eq!(rest("/asgi/id/x/", PARTS), "");
        assert_eq!(rest("/asgi/id/x/a%2Fb//c/", PARTS), "/a%2Fb//c/");
    }
}
