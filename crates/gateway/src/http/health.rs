//! GET /health.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::shared::SharedRef;

/// Answers as soon as the gateway serves calls.
pub(super) async fn health(State(shared): State<SharedRef>) -> Json<Value> {
    Json(json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": shared.started.elapsed().as_secs(),
    }))
}
