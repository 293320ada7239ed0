//! StopContainer: end a container and the call in it.

use metal9_core::Input;
use metal9_proto::beta9::gateway::{StopContainerRequest, StopContainerResponse};
use metal9_types::ContainerId;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;

/// Stops a container of the workspace.
pub(super) async fn stop(
    shared: &Shared,
    caller: &Caller,
    request: StopContainerRequest,
) -> Result<StopContainerResponse, ApiError> {
    caller.require_client()?;
    let missing = || ApiError::NotFound { kind: "container", id: request.container_id.clone() };
    let container = ContainerId::from_api_name(&request.container_id).map_err(|_| missing())?;
    let containers = shared.driver.query(|core, _| core.containers()).await?;
    let view =
        containers.into_iter().find(|view| view.container == container).ok_or_else(missing)?;
    let stub = shared.store.stub(view.stub).await?.ok_or_else(missing)?;
    if stub.workspace != caller.workspace {
        return Err(missing());
    }
    let stopped = caller.actor.did("container.stop", &request.container_id);
    shared.store.audit(stopped).await?;
    shared.driver.input(Input::StopContainer { container }).await?;
    Ok(StopContainerResponse { ok: true, error_msg: String::new() })
}
