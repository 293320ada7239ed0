//! Failures as JSON: `{"message": …}`, which is what the SDK reads.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::error::ApiError;

/// A failure of a REST route.
#[derive(Debug)]
pub(crate) struct HttpError(ApiError);

impl<E: Into<ApiError>> From<E> for HttpError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::error!(error = %self.0, "a request failed");
        }
        (status, Json(json!({ "message": self.0.to_string() }))).into_response()
    }
}

/// The answer for paths nothing is at.
pub(super) async fn no_such_route() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "message": "no such route" }))).into_response()
}
