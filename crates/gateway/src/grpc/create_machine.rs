//! CreateMachine: a machine that is expected in a pool, and the token it joins with.

use metal9_proto::beta9::gateway::{CreateMachineRequest, CreateMachineResponse};

use super::list_machines::waiting;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;
use crate::{joining, pools};

/// How long the machine may take to join.
const TTL_SECONDS: u64 = 24 * 3600;

/// Makes a token for one machine, which stands for the machine until that has joined.
pub(super) async fn create(
    shared: &Shared,
    caller: &Caller,
    request: CreateMachineRequest,
) -> Result<CreateMachineResponse, ApiError> {
    shared.require_operator(caller).await?;
    pools::require(shared, caller, &request.pool_name).await?;
    let invitation = joining::invite(shared, caller, &request.pool_name, TTL_SECONDS, true).await?;
    let mut machine = waiting(&invitation.id.to_string(), &request.pool_name);
    machine.registration_token.clone_from(&invitation.token);
    Ok(CreateMachineResponse {
        ok: true,
        machine: Some(machine),
        install_command: invitation.command(),
        ..Default::default()
    })
}
