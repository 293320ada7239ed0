//! The HTTP server: health, metrics and the REST routes.

mod audit;
mod callback_key;
mod endpoint;
mod error;
mod explain;
mod fields;
mod file_body;
mod health;
mod invoke;
mod join_tokens;
mod log_lines;
mod log_stream;
mod logs;
mod object_upload;
mod openapi;
mod output;
mod patience;
mod prometheus;
mod standing;
mod status;
mod subscribe;
mod task;
mod tokens;
mod unread;
mod urls;
mod volume_body;
mod volume_file;
mod volume_part;
mod volume_urls;
mod whole;
mod workers;
mod workspace;
mod workspaces;

use std::net::SocketAddr;

use axum::extract::FromRequestParts;
use axum::extract::connect_info::ConnectInfo;
use axum::http::Extensions;
use axum::http::request::Parts;
use axum::routing::get;
use metal9_tasks::CancellationToken;
use metal9_types::StubKind;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Caller, http_bearer};
use crate::doors::{Door, serve_http};
use crate::error::ApiError;
use crate::shared::SharedRef;
pub(crate) use error::HttpError;

/// Serves HTTP until `shutdown`.
pub(crate) async fn serve(shared: SharedRef, door: Door, shutdown: CancellationToken) {
    let (router, document) = routes().split_for_parts();
    let document = openapi::finish(document);
    let router = router
        .route("/health", get(health::health))
        .route("/api/v1/openapi.json", get(async move || openapi::answer(document)))
        .fallback(error::no_such_route)
        .layer(axum::middleware::map_response(error::in_json))
        .layer(axum::middleware::map_request(async |request| patience::bounded(request)))
        // After the layer: what applications answer is theirs.
        .merge(endpoint::routes())
        .layer(axum::middleware::from_fn(unread::closes))
        .with_state(shared);
    serve_http(door, router, shutdown).await;
}

/// The routes that the document describes.
fn routes() -> OpenApiRouter<SharedRef> {
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(prometheus::metrics))
        .routes(routes!(health::health))
        .routes(routes!(status::status))
        .routes(routes!(workspaces::list, workspaces::create))
        .routes(routes!(workspaces::limit))
        .routes(routes!(workspace::current))
        .routes(routes!(callback_key::get))
        .routes(routes!(task::get))
        .routes(routes!(subscribe::subscribe))
        .routes(routes!(explain::explain))
        .routes(routes!(logs::logs))
        .routes(routes!(output::get))
        .routes(routes!(volume_file::get, volume_file::put))
        .routes(routes!(volume_part::put))
        .routes(routes!(volume_urls::upload))
        .routes(routes!(volume_urls::download))
        .routes(routes!(object_upload::part))
        .routes(routes!(object_upload::whole))
        .routes(routes!(audit::read))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(workers::list))
        .routes(routes!(join_tokens::list, join_tokens::create))
        .routes(routes!(join_tokens::revoke))
        .routes(routes!(workers::remove))
        .routes(routes!(workers::revoke))
        .routes(routes!(workers::rotate))
        .routes(routes!(standing::cordon))
        .routes(routes!(standing::uncordon))
        .routes(routes!(standing::drain))
        .routes(routes!(log_lines::page))
        .routes(routes!(log_stream::stream))
        .routes(routes!(urls::stub))
        .routes(routes!(urls::deployment))
        .nest("/function", invoke::routes(StubKind::Function))
        .nest("/schedule", invoke::routes(StubKind::Schedule))
        .nest("/taskqueue", invoke::routes(StubKind::Taskqueue))
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
    shared.counted_caller(http_bearer(&parts.headers), &peer(&parts.extensions)).await
}

/// The address that a request came from; empty if unknown.
fn peer(extensions: &Extensions) -> String {
    let peer = extensions.get::<ConnectInfo<Peer>>();
    let peer = peer.map(|ConnectInfo(Peer(peer))| peer.ip().to_canonical().to_string());
    peer.unwrap_or_default()
}
