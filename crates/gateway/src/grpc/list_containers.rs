//! ListContainers: what runs, and what is kept warm.

use metal9_core::ContainerPhase;
use metal9_proto::beta9::gateway::{ListContainersRequest, ListContainersResponse};
use metal9_proto::beta9::types::Container;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;
use crate::timestamps;

/// Lists the workspace's containers.
pub(super) async fn list(
    shared: &Shared,
    caller: &Caller,
    _: ListContainersRequest,
) -> Result<ListContainersResponse, ApiError> {
    caller.require_client()?;
    let now = timestamps::now();
    let views = shared
        .driver
        .query(|core, moment| {
            let views = core.containers();
            views.into_iter().map(|view| (moment.since(view.since), view)).collect::<Vec<_>>()
        })
        .await?;
    let mut containers = Vec::with_capacity(views.len());
    for (age, view) in views {
        let stub = shared.store.stub(view.stub).await?;
        let Some(stub) = stub.filter(|stub| stub.workspace == caller.workspace) else { continue };
        let since = now - i64::try_from(age.as_micros()).unwrap_or(0);
        let status = match view.phase {
            ContainerPhase::Starting => "PENDING",
            ContainerPhase::Idle | ContainerPhase::Busy => "RUNNING",
            ContainerPhase::Stopping => "STOPPING",
        };
        containers.push(Container {
            container_id: view.container.api_name(stub.config.kind, view.stub),
            stub_id: view.stub.to_string(),
            status: status.to_owned(),
            scheduled_at: Some(timestamps::to_proto(since)),
            started_at: Some(timestamps::to_proto(since)),
            workspace_id: caller.workspace.to_string(),
            worker_id: view.worker.to_string(),
            machine_id: view.worker.to_string(),
            ..Default::default()
        });
    }
    Ok(ListContainersResponse { containers, ok: true, error_msg: String::new() })
}
