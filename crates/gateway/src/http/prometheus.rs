//! GET /metrics.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::metrics;
use crate::shared::SharedRef;

/// The metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "gateway", security(()),
    responses((status = 200, content_type = "text/plain", body = String)))]
pub(super) async fn metrics(State(shared): State<SharedRef>) -> Response {
    let Some(recorder) = metrics::recorder() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "metrics are off\n").into_response();
    };
    ::metrics::gauge!(metrics::TASKS_LIVE).set(shared.hub.len() as f64);
    ::metrics::gauge!(metrics::WORKERS_CONNECTED).set(shared.fleet.connections().len() as f64);
    let content_type = [("content-type", "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, recorder.render()).into_response()
}
