//! Output, piece by piece.

use metal9_types::TaskId;
use tonic::Status;

use crate::shared::Shared;

/// The most output in one message.
const CHUNK: usize = 64 * 1024;

/// What a log has from this byte on; nothing if that is its end.
///
/// # Errors
/// When it cannot be read.
pub(super) async fn piece(
    shared: &Shared,
    task: TaskId,
    offset: u64,
) -> Result<Option<String>, Status> {
    match shared.store.logs().read(task, offset, CHUNK).await {
        Ok(output) => Ok(Some(output).filter(|output| !output.is_empty())),
        Err(error) => {
            tracing::error!(%task, %error, "cannot read the task's log");
            Err(Status::internal(format!("cannot read the task's output: {error}")))
        }
    }
}
