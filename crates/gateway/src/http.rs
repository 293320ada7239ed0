//! The HTTP server: health, metrics and the REST routes.

mod error;
mod explain;
mod health;
mod join_tokens;
mod logs;
mod prometheus;
mod status;
mod subscribe;
mod task;
mod workers;
mod workspace;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::routing::{get, post};
use metal9_tasks::CancellationToken;

use crate::auth::{Caller, bearer};
use crate::doors::{Door, serve_http};
use crate::shared::SharedRef;
use error::HttpError;

/// Serves HTTP until `shutdown`.
pub(crate) async fn serve(shared: SharedRef, door: Door, shutdown: CancellationToken) {
    let router = Router::new()
        .route("/health", get(health::health))
        .route("/metrics", get(prometheus::metrics))
        .route("/api/v1/health", get(health::health))
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/workspace/current", get(workspace::current))
        .route("/api/v1/task/{workspace}/{task}", get(task::get))
        .route("/api/v1/task/{workspace}/{task}/subscribe", get(subscribe::subscribe))
        .route("/api/v1/task/{workspace}/{task}/explain", get(explain::explain))
        .route("/api/v1/task/{workspace}/{task}/logs", get(logs::logs))
        .route("/api/v1/worker/join-tokens", post(join_tokens::create))
        .route("/api/v1/worker/{id}/cordon", post(workers::cordon))
        .route("/api/v1/worker/{id}/uncordon", post(workers::uncordon))
        .route("/api/v1/worker/{id}/drain", post(workers::drain))
        .fallback(error::no_such_route)
        .layer(axum::middleware::map_response(error::in_json))
        .with_state(shared);
    serve_http(door, router, shutdown).await;
}

impl FromRequestParts<SharedRef> for Caller {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, shared: &SharedRef) -> Result<Self, HttpError> {
        let header = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
        Ok(shared.caller(bearer(header)).await?)
    }
}
