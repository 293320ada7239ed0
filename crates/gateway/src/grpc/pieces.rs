//! Reading what a client sends in pieces.

use std::time::Duration;

use tonic::Streaming;

use crate::error::ApiError;
use crate::validate::refuse;

/// How long a client may be silent in the middle.
const SILENCE: Duration = Duration::from_secs(60);

/// The next piece; nothing at the end.
pub(super) async fn next<T>(stream: &mut Streaming<T>, what: &str) -> Result<Option<T>, ApiError> {
    let hint = "send it again";
    match tokio::time::timeout(SILENCE, stream.message()).await {
        Ok(piece) => piece
            .map_err(|status| refuse(format!("the {what} broke off: {}", status.message()), hint)),
        Err(_) => {
            let what = format!("the {what} stood still for {} s", SILENCE.as_secs());
            Err(refuse(what, hint))
        }
    }
}
