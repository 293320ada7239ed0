//! Failures as JSON: `{"message": …}`, which is what the SDK reads.

use axum::Json;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use metal9_proto::MAX_MESSAGE_BYTES;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ApiError;

/// Why a request was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Refused {
    /// What, why and, behind `hint:`, what to do.
    message: String,
}

impl Refused {
    pub(super) fn new(message: String) -> Self {
        Self { message }
    }
}

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
        let mut response = (status, Json(Refused::new(self.0.to_string()))).into_response();
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
    let (mut parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, LONGEST).await.unwrap_or_default();
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
    // What else was said stays said, as which methods there are.
    parts.headers.remove(CONTENT_TYPE);
    parts.headers.remove(CONTENT_LENGTH);
    let mut answer = (status, Json(Refused::new(message))).into_response();
    answer.headers_mut().extend(parts.headers);
    answer
}

/// The answer for paths nothing is at; the SDK's command line asks for some of them.
pub(super) async fn no_such_route(address: Uri) -> Response {
    let feature = match address.path().strip_prefix("/api/v1/").and_then(|it| it.split('/').next())
    {
        Some("vm" | "vms") => "virtual machines",
        Some("database" | "databases") => "databases",
        _ => {
            let refused = Refused::new("no such route".to_owned());
            return (StatusCode::NOT_FOUND, Json(refused)).into_response();
        }
    };
    let message = format!("metal9 {} does not support {feature}", env!("CARGO_PKG_VERSION"));
    (StatusCode::NOT_IMPLEMENTED, Json(Refused::new(message))).into_response()
}
