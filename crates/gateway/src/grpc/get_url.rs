//! GetURL: where a stub or a deployment is called over HTTP.

use metal9_proto::beta9::gateway::{GetUrlRequest, GetUrlResponse};

use crate::accept::own_stub;
use crate::auth::Caller;
use crate::deployed;
use crate::error::ApiError;
use crate::shared::Shared;
use crate::validate::refuse;

/// Tells the address.
pub(super) async fn get(
    shared: &Shared,
    caller: &Caller,
    request: GetUrlRequest,
) -> Result<GetUrlResponse, ApiError> {
    caller.require_client()?;
    if request.is_shell {
        return Err(ApiError::Invalid("shells are not supported".to_owned()));
    }
    if request.url_type == "host" {
        return Err(refuse(
            "every deployment has a path of this gateway, not a host of its own",
            "leave `--url-type` out, or say `--url-type path`",
        ));
    }
    let deployment = match request.deployment_id.as_str() {
        "" => None,
        id => Some(deployed::own_deployment(shared, caller, id).await?),
    };
    let stub = match &deployment {
        Some(deployment) => own_stub(shared, caller, &deployment.stub.to_string()).await?,
        None => own_stub(shared, caller, &request.stub_id).await?,
    };
    let url = deployed::url(shared, &stub, deployment.as_ref());
    Ok(GetUrlResponse { ok: true, url, ..Default::default() })
}
