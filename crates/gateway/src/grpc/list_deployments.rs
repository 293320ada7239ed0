//! ListDeployments: the newest deployments of the workspace.

use metal9_proto::beta9::gateway::{Deployment, ListDeploymentsRequest, ListDeploymentsResponse};
use metal9_store::{DeploymentFilter, DeploymentRow, StubRow};

use super::filters::{limit, parse};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;
use crate::timestamps::to_proto;

const MAX_LIMIT: u32 = 1000;
/// Values of one filter at most.
const MOST_VALUES: usize = 1000;

/// Lists deployments by the filters the SDK knows: `id`, `name`, `active`, `version`.
pub(super) async fn list(
    shared: &Shared,
    caller: &Caller,
    request: ListDeploymentsRequest,
) -> Result<ListDeploymentsResponse, ApiError> {
    caller.require_client()?;
    let limit = limit(request.limit, MAX_LIMIT);
    let mut filter = DeploymentFilter { limit, ..DeploymentFilter::default() };
    for (key, values) in &request.filters {
        read_filter(&mut filter, key, &values.values)?;
    }
    let mut deployments = Vec::new();
    for row in shared.store.deployments(caller.workspace, &filter).await? {
        let stub = shared.store.stub(row.stub).await?;
        deployments.push(deployment(&row, stub.as_deref(), &caller.workspace_name));
    }
    Ok(ListDeploymentsResponse { ok: true, err_msg: String::new(), deployments })
}

fn read_filter(
    filter: &mut DeploymentFilter,
    key: &str,
    values: &[String],
) -> Result<(), ApiError> {
    if values.len() > MOST_VALUES {
        return Err(ApiError::Invalid(format!("`{key}` has more than {MOST_VALUES} values")));
    }
    // The CLI shows versions as `v3`.
    let texts = values.iter().map(|value| value.trim().trim_start_matches('v'));
    match key {
        "id" => filter.ids = parse(texts)?,
        "name" => filter.names = values.to_vec(),
        "version" => filter.versions = parse(texts)?,
        "active" => {
            let read = values.iter().map(|value| match value.trim().to_lowercase().as_str() {
                "yes" | "true" => Ok(true),
                "no" | "false" => Ok(false),
                other => Err(ApiError::Invalid(format!("`active` is yes or no, not `{other}`"))),
            });
            let wanted = read.collect::<Result<Vec<_>, _>>()?;
            filter.active = match wanted.as_slice() {
                [first, rest @ ..] if rest.iter().all(|one| one == first) => Some(*first),
                _ => None,
            };
        }
        other => {
            return Err(ApiError::Invalid(format!(
                "deployments cannot be filtered by `{other}`; use id, name, active or version"
            )));
        }
    }
    Ok(())
}

fn deployment(row: &DeploymentRow, stub: Option<&StubRow>, workspace_name: &str) -> Deployment {
    Deployment {
        id: row.id.to_string(),
        name: row.name.clone(),
        active: row.active,
        stub_id: row.stub.to_string(),
        stub_type: stub.map(|stub| stub.config.stub_type().to_string()).unwrap_or_default(),
        stub_name: stub.map(|stub| stub.config.name.clone()).unwrap_or_default(),
        version: row.version,
        workspace_id: row.workspace.to_string(),
        workspace_name: workspace_name.to_owned(),
        created_at: Some(to_proto(row.created_at)),
        updated_at: Some(to_proto(row.updated_at)),
        app_id: stub.map(|stub| stub.config.app.clone()).unwrap_or_default(),
        ..Default::default()
    }
}
