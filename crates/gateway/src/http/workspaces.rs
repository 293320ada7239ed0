//! /api/v1/workspace: the tenants of this installation, for who looks after it.

use axum::Json;
use axum::extract::{Path, State};
use metal9_store::{WorkspaceLimits, WorkspaceRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{HttpError, Refused};
use super::fields::Fields;
use super::whole;
use crate::auth::Caller;
use crate::driver::workspace_input;
use crate::error::ApiError;
use crate::shared::{Shared, SharedRef};
use crate::timestamps::to_rfc3339;
use crate::validate::{refuse, shown};

/// The most that a limit can be set to.
const MOST: u64 = 1 << 40;
/// The most that a weight can be set to.
const MOST_WEIGHT: u32 = 1000;

/// What the client asks for. What is left out stays as it is; 0 takes a limit away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LimitsWish)]
pub(super) struct Limits {
    /// Its part where several workspaces want the same.
    #[serde(default, deserialize_with = "whole::optional")]
    #[schema(minimum = 1, maximum = 1000)]
    weight: Option<u64>,
    /// Running calls at most.
    #[serde(default, deserialize_with = "whole::optional")]
    #[schema(maximum = 1_099_511_627_776_u64)]
    max_containers: Option<u64>,
    /// Processor at most.
    #[serde(default, deserialize_with = "whole::optional")]
    #[schema(maximum = 1_099_511_627_776_u64)]
    max_cpu_millicores: Option<u64>,
    /// Memory at most.
    #[serde(default, deserialize_with = "whole::optional")]
    #[schema(maximum = 1_099_511_627_776_u64)]
    max_memory_mib: Option<u64>,
    /// Accelerators at most.
    #[serde(default, deserialize_with = "whole::optional")]
    #[schema(maximum = 1_099_511_627_776_u64)]
    max_gpus: Option<u64>,
    /// Requests a second at most, over gRPC and HTTP together.
    #[serde(default, deserialize_with = "whole::optional")]
    #[schema(maximum = 1_099_511_627_776_u64)]
    max_requests_per_second: Option<u64>,
}

/// A workspace that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WorkspaceWish)]
pub(super) struct Wish {
    #[schema(pattern = "^[A-Za-z0-9._-]{1,64}$")]
    name: String,
    #[serde(default)]
    limits: Limits,
}

impl Limits {
    fn over(&self, before: WorkspaceLimits) -> Result<WorkspaceLimits, ApiError> {
        let weight = match self.weight {
            None => before.weight,
            Some(weight) => match u32::try_from(weight) {
                Ok(weight @ 1..=MOST_WEIGHT) => weight,
                _ => {
                    return Err(refuse(
                        format!("a weight of {weight} is not between 1 and {MOST_WEIGHT}"),
                        "a workspace of weight 2 gets twice what one of weight 1 gets",
                    ));
                }
            },
        };
        let limit = |name: &str, asked: Option<u64>, before: Option<u64>| match asked {
            None => Ok(before),
            Some(0) => Ok(None),
            Some(most) if most <= MOST => Ok(Some(most)),
            Some(most) => {
                Err(refuse(format!("{name} of {most} is no limit"), "leave it out for none"))
            }
        };
        Ok(WorkspaceLimits {
            weight,
            max_containers: limit("max_containers", self.max_containers, before.max_containers)?,
            max_cpu_millicores: limit(
                "max_cpu_millicores",
                self.max_cpu_millicores,
                before.max_cpu_millicores,
            )?,
            max_memory_mib: limit("max_memory_mib", self.max_memory_mib, before.max_memory_mib)?,
            max_gpus: limit("max_gpus", self.max_gpus, before.max_gpus)?,
            max_requests_per_second: limit(
                "max_requests_per_second",
                self.max_requests_per_second,
                before.max_requests_per_second,
            )?,
        })
    }
}

/// A workspace and what it may have; null for no limit.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Workspace {
    id: String,
    name: String,
    created_at: String,
    weight: u32,
    max_containers: Option<u64>,
    max_cpu_millicores: Option<u64>,
    max_memory_mib: Option<u64>,
    max_gpus: Option<u64>,
    max_requests_per_second: Option<u64>,
}

/// A workspace that was just made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewWorkspace {
    #[serde(flatten)]
    workspace: Workspace,
    /// Its first token, told this once.
    token: String,
}

/// The installation's workspaces.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WorkspaceList {
    workspaces: Vec<Workspace>,
}

/// All workspaces, for who looks after the installation.
#[utoipa::path(get, path = "/api/v1/workspace", tag = "workspaces",
    responses((status = 200, body = WorkspaceList)))]
pub(super) async fn list(
    State(shared): State<SharedRef>,
    caller: Caller,
) -> Result<Json<WorkspaceList>, HttpError> {
    shared.require_operator(&caller).await?;
    let rows = shared.store.workspaces().await?;
    Ok(Json(WorkspaceList { workspaces: rows.iter().map(Workspace::from).collect() }))
}

/// Makes a workspace; its first token is told here and never again.
#[utoipa::path(post, path = "/api/v1/workspace", tag = "workspaces", request_body = Wish,
    responses((status = 200, body = NewWorkspace),
        (status = 409, description = "There is one of this name", body = Refused)))]
pub(super) async fn create(
    State(shared): State<SharedRef>,
    caller: Caller,
    Fields(wish): Fields<Wish>,
) -> Result<Json<NewWorkspace>, HttpError> {
    shared.require_operator(&caller).await?;
    let limits = wish.limits.over(WorkspaceLimits::default())?;
    shared.disk.room_for("the workspace", 0)?;
    let (row, token) = shared.store.by(&caller.actor).create_workspace(&wish.name, limits).await?;
    tell(&shared, &row).await?;
    Ok(Json(NewWorkspace { workspace: Workspace::from(&row), token }))
}

/// Says what a workspace may have. What is left out stays as it is; 0 takes a limit away.
#[utoipa::path(put, path = "/api/v1/workspace/{name}/limits", tag = "workspaces",
    params(("name" = String, Path, description = "The workspace's name or id")),
    request_body = Limits, responses((status = 200, body = Workspace)))]
pub(super) async fn limit(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(name): Path<String>,
    Fields(limits): Fields<Limits>,
) -> Result<Json<Workspace>, HttpError> {
    shared.require_operator(&caller).await?;
    let rows = shared.store.workspaces().await?;
    let found = rows.into_iter().find(|row| row.name == name || row.id.to_string() == name);
    let before = found.ok_or_else(|| ApiError::NotFound { kind: "workspace", id: shown(&name) })?;
    let row = WorkspaceRow { limits: limits.over(before.limits)?, ..before };
    shared.store.by(&caller.actor).limit_workspace(row.id, row.limits).await?;
    tell(&shared, &row).await?;
    Ok(Json(Workspace::from(&row)))
}

/// Tells the scheduler and the counter of requests.
async fn tell(shared: &Shared, row: &WorkspaceRow) -> Result<(), ApiError> {
    shared.rates.set(row.id, row.limits.max_requests_per_second);
    shared.driver.input(workspace_input(row)).await
}

impl From<&WorkspaceRow> for Workspace {
    fn from(row: &WorkspaceRow) -> Self {
        let limits = row.limits;
        Self {
            id: row.id.to_string(),
            name: row.name.clone(),
            created_at: to_rfc3339(row.created_at),
            weight: limits.weight,
            max_containers: limits.max_containers,
            max_cpu_millicores: limits.max_cpu_millicores,
            max_memory_mib: limits.max_memory_mib,
            max_gpus: limits.max_gpus,
            max_requests_per_second: limits.max_requests_per_second,
        }
    }
}
