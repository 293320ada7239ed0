//! Failures as JSON: `{"message": …}`, which is what the SDK reads.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use metal9_proto::MAX_MESSAGE_BYTES;
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
        let mut response = (status, Json(json!({ "message": self.0.to_string() }))).into_response();
        if let Some(after) = self.0.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs()));
        }
        response
    }
}

/// Bytes of a refusal that are kept.
const LONGEST: usize = 4096;

/// Puts the refusals of the framework, which are plain text or nothing, into the same shape.
pub(super) async fn in_json(response: Response) -> Response {
    let status = response.status();
    let json = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !status.is_client_error() || json {
        return response;
    }
    let bytes = axum::body::to_bytes(response.into_body(), LONGEST).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let message = match text.trim() {
        text if status == StatusCode::PAYLOAD_TOO_LARGE => format!(
            "the body of the request is too large: {}\nhint: a call may carry {} MiB; put large data \
             into a volume",
            if text.is_empty() { "it is over the limit of this address" } else { text },
            MAX_MESSAGE_BYTES / (1024 * 1024),
        ),
        "" => status.canonical_reason().unwrap_or("refused").to_lowercase(),
        text => text.to_owned(),
    };
    (status, Json(json!({ "message": message }))).into_response()
}

/// The answer for paths nothing is at.
pub(super) async fn no_such_route() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "message": "no such route" }))).into_response()
}
