//! StartDeployment, StopDeployment, ScaleDeployment and DeleteDeployment.

use metal9_core::Input;
use metal9_proto::beta9::gateway as wire;
use metal9_store::{DeploymentChange, DeploymentRow};

use crate::auth::Caller;
use crate::deployed::{self, own_deployment};
use crate::driver::stub_spec;
use crate::error::ApiError;
use crate::schedules;
use crate::shared::Shared;
use crate::validate::refuse;

/// Containers of one deployment at most.
const MOST_CONTAINERS: u32 = 1000;

/// A stopped deployment takes calls again, and its schedule goes on from now.
pub(super) async fn start(
    shared: &Shared,
    caller: &Caller,
    request: wire::StartDeploymentRequest,
) -> Result<wire::StartDeploymentResponse, ApiError> {
    let deployment = changeable(shared, caller, &request.id).await?;
    if !deployment.active {
        // First, or what was due while it was stopped would be done now.
        schedules::from_now(shared, caller, &deployment).await?;
    }
    change(shared, caller, &deployment, DeploymentChange::Start).await?;
    Ok(wire::StartDeploymentResponse { ok: true, ..Default::default() })
}

/// A deployment takes no more calls. Those that were accepted are still done.
pub(super) async fn stop(
    shared: &Shared,
    caller: &Caller,
    request: wire::StopDeploymentRequest,
) -> Result<wire::StopDeploymentResponse, ApiError> {
    let deployment = changeable(shared, caller, &request.id).await?;
    change(shared, caller, &deployment, DeploymentChange::Stop).await?;
    Ok(wire::StopDeploymentResponse { ok: true, ..Default::default() })
}

/// A deployment has at most so many containers; 0 for as many as its decorator says.
pub(super) async fn scale(
    shared: &Shared,
    caller: &Caller,
    request: wire::ScaleDeploymentRequest,
) -> Result<wire::ScaleDeploymentResponse, ApiError> {
    if request.containers > MOST_CONTAINERS {
        return Err(refuse(
            format!(
                "{} containers are more than the limit of {MOST_CONTAINERS}",
                request.containers
            ),
            "ask for fewer; what the machines cannot take waits",
        ));
    }
    let deployment = changeable(shared, caller, &request.id).await?;
    let containers = (request.containers > 0).then_some(request.containers);
    change(shared, caller, &deployment, DeploymentChange::Scale(containers)).await?;
    shared.scales.set(deployment.stub, containers);
    if let Some(stub) = shared.store.stub(deployment.stub).await? {
        shared.driver.input(Input::DefineStub(stub_spec(shared, &stub))).await?;
        shared.endpoints.rescale(stub.id, shared.scales.serving(&stub));
    }
    // What is kept is never more than there may be.
    deployed::keep_containers(shared).await?;
    Ok(wire::ScaleDeploymentResponse { ok: true, ..Default::default() })
}

/// Removes a deployment. Calls that were accepted are still done.
pub(super) async fn delete(
    shared: &Shared,
    caller: &Caller,
    request: wire::DeleteDeploymentRequest,
) -> Result<wire::DeleteDeploymentResponse, ApiError> {
    let deployment = changeable(shared, caller, &request.id).await?;
    shared.store.by(&caller.actor).delete_deployment(caller.workspace, deployment.id).await?;
    shared.scales.set(deployment.stub, None);
    deployed::keep_containers(shared).await?;
    Ok(wire::DeleteDeploymentResponse { ok: true, ..Default::default() })
}

async fn changeable(shared: &Shared, caller: &Caller, id: &str) -> Result<DeploymentRow, ApiError> {
    caller.require_client()?;
    own_deployment(shared, caller, id).await
}

async fn change(
    shared: &Shared,
    caller: &Caller,
    deployment: &DeploymentRow,
    change: DeploymentChange,
) -> Result<(), ApiError> {
    let store = shared.store.by(&caller.actor);
    let done = store.change_deployment(caller.workspace, deployment.id, change).await?;
    if done {
        return deployed::keep_containers(shared).await;
    }
    // Somebody removed it just now.
    Err(ApiError::NotFound { kind: "deployment", id: deployment.id.to_string() })
}
