//! CordonWorker, UncordonWorker and DrainWorker.

use metal9_proto::beta9::gateway::{
    CordonWorkerRequest, CordonWorkerResponse, DrainWorkerRequest, DrainWorkerResponse,
    UncordonWorkerRequest, UncordonWorkerResponse,
};

use crate::auth::Caller;
use crate::cordon::{self, Wish};
use crate::error::ApiError;
use crate::shared::Shared;

/// Nothing new for a worker.
pub(super) async fn cordon(
    shared: &Shared,
    caller: &Caller,
    request: CordonWorkerRequest,
) -> Result<CordonWorkerResponse, ApiError> {
    cordon::carry_out(shared, caller, &request.worker_id, Wish::Cordon).await?;
    Ok(CordonWorkerResponse { ok: true, err_msg: String::new() })
}

/// A worker may get work again.
pub(super) async fn uncordon(
    shared: &Shared,
    caller: &Caller,
    request: UncordonWorkerRequest,
) -> Result<UncordonWorkerResponse, ApiError> {
    cordon::carry_out(shared, caller, &request.worker_id, Wish::Uncordon).await?;
    Ok(UncordonWorkerResponse { ok: true, err_msg: String::new() })
}

/// A worker is to become empty.
pub(super) async fn drain(
    shared: &Shared,
    caller: &Caller,
    request: DrainWorkerRequest,
) -> Result<DrainWorkerResponse, ApiError> {
    if request.restart {
        let text = "a gateway cannot restart a worker's service; stop the worker with SIGTERM, \
                    which drains it, and start it again";
        return Err(ApiError::Invalid(text.to_owned()));
    }
    let wish = Wish::Drain(cordon::DEFAULT_DEADLINE);
    cordon::carry_out(shared, caller, &request.worker_id, wish).await?;
    Ok(DrainWorkerResponse { ok: true, err_msg: String::new() })
}
