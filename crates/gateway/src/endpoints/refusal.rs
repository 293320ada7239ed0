//! Answers that no container has given.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use metal9_types::FailureKind;
use serde_json::json;

use super::book::Refusal;

/// What is said of a stub that was made by `serve` and that nobody serves.
pub(super) const UNSERVED: &str =
    "nobody serves this any more\nhint: run `beta9 serve` again and use the address that it shows";

/// An answer in the shape that clients of endpoints expect.
pub(super) fn error(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "error": text }))).into_response()
}

/// The answer to a request that gets no container.
pub(super) fn refused(refusal: &Refusal) -> Response {
    match refusal {
        Refusal::Full(most) => {
            error(StatusCode::TOO_MANY_REQUESTS, &format!("exceeded max pending tasks: {most}"))
        }
        Refusal::Unserved => error(StatusCode::SERVICE_UNAVAILABLE, UNSERVED),
        Refusal::Failed(failure) => error(status(failure.kind), &failure.message),
        Refusal::Pausing(failure, pause) => {
            let text = format!(
                "the last containers did not start, and the next is tried in {} s: {}",
                seconds(*pause),
                failure.message
            );
            let mut response = error(StatusCode::SERVICE_UNAVAILABLE, &text);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds(*pause)));
            response
        }
    }
}

fn status(kind: FailureKind) -> StatusCode {
    match kind {
        // The user's code could not be loaded: the same as if it had failed in the request.
        FailureKind::Exception | FailureKind::Setup => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_GATEWAY,
    }
}

fn seconds(pause: Duration) -> u64 {
    pause.as_secs() + u64::from(pause.subsec_nanos() > 0)
}
