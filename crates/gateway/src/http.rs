//! The HTTP server: health, metrics and the REST routes.

mod audit;
mod endpoint;
mod error;
mod explain;
mod file_body;
mod health;
mod invoke;
mod join_tokens;
mod log_lines;
mod log_stream;
mod logs;
mod output;
mod prometheus;
mod standing;
mod status;
mod subscribe;
mod task;
mod tokens;
mod urls;
mod volume_body;
mod volume_file;
mod volume_part;
mod workers;
mod workspace;
mod workspaces;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::extract::connect_info::ConnectInfo;
use axum::http::Extensions;
use axum::http::request::Parts;
use axum::routing::{delete, get, post, put};
use metal9_tasks::CancellationToken;
use metal9_types::StubKind;

use crate::auth::{Caller, http_bearer};
use crate::doors::{Door, serve_http};
use crate::error::ApiError;
use crate::shared::SharedRef;
pub(crate) use error::HttpError;

/// Serves HTTP until `shutdown`.
pub(crate) async fn serve(shared: SharedRef, door: Door, shutdown: CancellationToken) {
    let router = Router::new()
        .route("/health", get(health::health))
        .route("/metrics", get(prometheus::metrics))
        .route("/api/v1/health", get(health::health))
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/workspace", get(workspaces::list).post(workspaces::create))
        .route("/api/v1/workspace/{name}/limits", put(workspaces::limit))
        .route("/api/v1/workspace/current", get(workspace::current))
        .route("/api/v1/task/{workspace}/{task}", get(task::get))
        .route("/api/v1/task/{workspace}/{task}/subscribe", get(subscribe::subscribe))
        .route("/api/v1/task/{workspace}/{task}/explain", get(explain::explain))
        .route("/api/v1/task/{workspace}/{task}/logs", get(logs::logs))
        .route("/output/id/{id}", get(output::get))
        .route(
            "/volume/file/{workspace}/{volume}/{*path}",
            get(volume_file::get).put(volume_file::put),
        )
        .route("/volume/part/{upload}/{number}", put(volume_part::put))
        .route("/api/v1/audit", get(audit::read))
        .route("/api/v1/token", get(tokens::list).post(tokens::create))
        .route("/api/v1/worker", get(workers::list))
        .route("/api/v1/worker/join-tokens", get(join_tokens::list).post(join_tokens::create))
        .route("/api/v1/worker/join-tokens/{id}", delete(join_tokens::revoke))
        .route("/api/v1/worker/{id}", delete(workers::remove))
        .route("/api/v1/worker/{id}/revoke", post(workers::revoke))
        .route("/api/v1/worker/{id}/rotate", post(workers::rotate))
        .route("/api/v1/worker/{id}/cordon", post(standing::cordon))
        .route("/api/v1/worker/{id}/uncordon", post(standing::uncordon))
        .route("/api/v1/worker/{id}/drain", post(standing::drain))
        .route("/api/v1/logs/{workspace}", get(log_lines::page))
        .route("/api/v1/logs/{workspace}/stream", get(log_stream::stream))
        .route("/api/v1/stub/{id}/url", get(urls::stub))
        .route("/api/v1/deployment/{id}/url", get(urls::deployment))
        .nest("/function", invoke::routes(StubKind::Function))
        .nest("/schedule", invoke::routes(StubKind::Schedule))
        .nest("/taskqueue", invoke::routes(StubKind::Taskqueue))
        .fallback(error::no_such_route)
        .layer(axum::middleware::map_response(error::in_json))
        // After the layer: what applications answer is theirs.
        .merge(endpoint::routes())
        .with_state(shared);
    serve_http(door, router, shutdown).await;
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl FromRequestParts<SharedRef> for Caller {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, shared: &SharedRef) -> Result<Self, HttpError> {
        Ok(header_caller(parts, shared).await?)
    }
}

/// Who calls, by the token in the header.
async fn header_caller(parts: &Parts, shared: &SharedRef) -> Result<Caller, ApiError> {
    shared.caller(http_bearer(&parts.headers), &peer(&parts.extensions)).await
}

/// The address that a request came from; empty if unknown.
fn peer(extensions: &Extensions) -> String {
    let peer = extensions.get::<ConnectInfo<Peer>>();
    let peer = peer.map(|ConnectInfo(Peer(peer))| peer.ip().to_canonical().to_string());
    peer.unwrap_or_default()
}
