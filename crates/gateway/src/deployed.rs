//! Finding what a deployment's name, id or stub stands for, and where it is called.

use std::collections::HashMap;
use std::sync::Arc;

use metal9_core::Input;
use metal9_store::{DeploymentRow, StubRow};
use metal9_types::{DeploymentId, Stage, StubKind, WorkspaceId};

use crate::auth::Caller;
use crate::driver::stub_spec;
use crate::error::ApiError;
use crate::shared::Shared;
use crate::validate::{refuse, shown};

fn missing(id: &str) -> ApiError {
    ApiError::NotFound { kind: "deployment", id: shown(id) }
}

/// The caller's deployment of this id.
///
/// # Errors
/// If there is none.
pub(crate) async fn own_deployment(
    shared: &Shared,
    caller: &Caller,
    id: &str,
) -> Result<DeploymentRow, ApiError> {
    let deployment: DeploymentId = id.trim().parse().map_err(|_| missing(id))?;
    let row = shared.store.deployment(caller.workspace, deployment).await?;
    row.ok_or_else(|| missing(id))
}

/// The stub that a name stands for: of this version (`v3`), or of the newest that takes calls
/// (`latest`, or nothing said).
///
/// # Errors
/// If there is none, or it was stopped.
pub(crate) async fn named(
    shared: &Shared,
    workspace: WorkspaceId,
    kind: StubKind,
    name: &str,
    version: &str,
) -> Result<Callable, ApiError> {
    let asked = if version.is_empty() { name.to_owned() } else { format!("{name}/{version}") };
    let version = match version {
        "" | "latest" => None,
        text => {
            let number = text.strip_prefix('v').and_then(|number| number.parse().ok());
            Some(number.ok_or_else(|| missing(&asked))?)
        }
    };
    let found = shared.store.deployment_named(workspace, kind, name, version).await?;
    let deployment = found.ok_or_else(|| missing(&asked))?;
    require_active(&deployment)?;
    let stub = shared.store.stub(deployment.stub).await?;
    stub.map(Callable).ok_or_else(|| missing(&asked))
}

/// A stub that was found to take calls.
#[derive(Clone, Debug)]
pub(crate) struct Callable(Arc<StubRow>);

impl Callable {
    /// Makes sure that a stub takes calls: one that was made for a deployment does while that does.
    ///
    /// # Errors
    /// If its deployment was stopped or removed.
    pub(crate) async fn of(shared: &Shared, stub: Arc<StubRow>) -> Result<Self, ApiError> {
        if stub.config.stage == Stage::Deployment {
            let deployment = shared.store.deployment_of_stub(stub.id).await?;
            require_active(&deployment.ok_or_else(|| missing(&stub.id.to_string()))?)?;
        }
        Ok(Self(stub))
    }

    /// The stub.
    pub(crate) fn into_stub(self) -> Arc<StubRow> {
        self.0
    }
}

fn require_active(deployment: &DeploymentRow) -> Result<(), ApiError> {
    if deployment.active {
        return Ok(());
    }
    let DeploymentRow { name, version, id, .. } = deployment;
    Err(refuse(
        format!("deployment `{name}` version {version} is stopped"),
        &format!("start it with `beta9 deployment start {id}`"),
    ))
}

/// Keeps as many containers as the decorators of all deployments say, and of others none. Only the
/// newest version of a name that takes calls keeps any.
///
/// # Errors
/// If the store cannot be read.
pub(crate) async fn keep_containers(shared: &Shared) -> Result<(), ApiError> {
    let mut newest = HashMap::new();
    for row in shared.store.active_deployments().await? {
        newest.insert((row.workspace, row.kind, row.name), row.stub);
    }
    let (mut served, mut queues, mut counts) = (HashMap::new(), Vec::new(), HashMap::new());
    for stub in newest.into_values() {
        let Some(stub) = shared.store.stub(stub).await? else { continue };
        let serving = shared.scales.serving(&stub);
        let kept = serving.min_containers;
        match stub.config.kind {
            _ if kept == 0 => {}
            kind if kind.is_served() => drop(served.insert(stub.id, (stub, serving))),
            StubKind::Taskqueue => {
                // Each process takes calls of its own.
                let kept = kept.saturating_mul(serving.workers);
                counts.insert(stub.id, kept);
                queues.push((stub, kept));
            }
            _ => {}
        }
    }
    shared.endpoints.keep_only(&served);
    // The scheduler is to know before the first container is asked for, and of what is not kept.
    for stub in shared.scales.keep_only(counts) {
        if let Some(stub) = shared.store.stub(stub).await? {
            shared.driver.input(Input::DefineStub(stub_spec(shared, &stub))).await?;
        }
    }
    shared.floors.keep_only(queues);
    Ok(())
}

/// Where a stub is called over HTTP: by its deployment's name and version, or by its own id.
pub(crate) fn url(shared: &Shared, stub: &StubRow, deployment: Option<&DeploymentRow>) -> String {
    let base = shared.http_url();
    let kind = stub.config.kind.as_str();
    match deployment {
        _ if !stub.config.serving.authorized => format!("{base}/{kind}/public/{}", stub.id),
        Some(DeploymentRow { name, version, .. }) => format!("{base}/{kind}/{name}/v{version}"),
        None => format!("{base}/{kind}/id/{}", stub.id),
    }
}
