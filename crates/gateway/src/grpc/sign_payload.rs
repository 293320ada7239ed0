//! SignPayload: the signature of a callback, so that its receiver can tell it is ours.

use metal9_proto::beta9::gateway::{SignPayloadRequest, SignPayloadResponse};

use crate::auth::Caller;
use crate::shared::Shared;
use crate::timestamps;

/// Signs with the workspace's key and the present time.
pub(super) fn sign(
    shared: &Shared,
    caller: &Caller,
    request: &SignPayloadRequest,
) -> SignPayloadResponse {
    let timestamp = timestamps::now() / 1_000_000;
    let signature = shared.signer.sign_payload(caller.workspace, &request.payload, timestamp);
    SignPayloadResponse { ok: true, signature, timestamp, error_msg: String::new() }
}
