//! Reading what a client sends in pieces.

use tonic::{Status, Streaming};

use crate::error::ApiError;
use crate::inflow;

/// The next piece; nothing at the end.
pub(super) async fn next<T>(stream: &mut Streaming<T>, what: &str) -> Result<Option<T>, ApiError> {
    let message = |status: Status| status.message().to_owned();
    inflow::next(what, async { stream.message().await.map_err(message) }).await
}
