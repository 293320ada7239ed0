//! GET /health and /api/v1/health.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::shared::SharedRef;

/// How the gateway is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`, as soon as the gateway serves calls.
    status: &'static str,
    /// The gateway's version.
    version: &'static str,
    /// Seconds since it started.
    uptime_seconds: u64,
}

/// Whether the gateway serves calls.
#[utoipa::path(get, path = "/api/v1/health", tag = "gateway", security(()),
    responses((status = 200, body = Health)))]
pub(super) async fn health(State(shared): State<SharedRef>) -> Json<Health> {
    Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: shared.started.elapsed().as_secs(),
    })
}
