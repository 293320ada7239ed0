//! DeployStub: makes a stub callable under a name, as its next version.

use metal9_proto::beta9::gateway::{DeployStubRequest, DeployStubResponse};
use metal9_store::NewDeployment;
use metal9_types::{Stage, StubKind};

use crate::accept::own_stub;
use crate::auth::Caller;
use crate::deployed;
use crate::error::ApiError;
use crate::shared::Shared;
use crate::validate::{names, refuse, shown};

/// Makes the deployment. Earlier versions stay callable, unless the client asks to replace them; of
/// a schedule only the newest version runs.
pub(super) async fn deploy(
    shared: &Shared,
    caller: &Caller,
    request: DeployStubRequest,
) -> Result<DeployStubResponse, ApiError> {
    caller.require_client()?;
    let stub = own_stub(shared, caller, &request.stub_id).await?;
    if stub.config.stage != Stage::Deployment {
        return Err(refuse(
            format!("stub `{}` was not made to be deployed", stub.id),
            "use `beta9 deploy app.py:function --name NAME`",
        ));
    }
    let name = names::deployment(request.name)?;
    let replace = match request.rollout.as_str() {
        "replace" => true,
        "" | "auto" | "blue-green" => stub.config.kind == StubKind::Schedule,
        other => {
            return Err(refuse(
                format!("`{}` is no way to roll out", shown(other)),
                "choose auto, blue-green or replace",
            ));
        }
    };
    shared.disk.room_for("the deployment", 0)?;
    let new = NewDeployment {
        workspace: caller.workspace,
        kind: stub.config.kind,
        name,
        stub: stub.id,
        replace,
    };
    let deployment = shared.store.by(&caller.actor).deploy(new).await?;
    deployed::keep_containers(shared).await?;
    Ok(DeployStubResponse {
        ok: true,
        deployment_id: deployment.id.to_string(),
        version: deployment.version,
        invoke_url: deployed::url(shared, &stub, Some(&deployment)),
        rollout_action: if replace { "replace" } else { "" }.to_owned(),
        ..Default::default()
    })
}
