//! /api/v1/workspace: the tenants of this installation, for who looks after it.

use axum::Json;
use axum::extract::{Path, State};
use metal9_store::{WorkspaceLimits, WorkspaceRow};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::HttpError;
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
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    weight: Option<u32>,
    max_containers: Option<u64>,
    max_cpu_millicores: Option<u64>,
    max_memory_mib: Option<u64>,
    max_gpus: Option<u64>,
}

/// A workspace that is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    name: String,
    #[serde(default)]
    limits: Limits,
}

impl Limits {
    fn over(&self, before: WorkspaceLimits) -> Result<WorkspaceLimits, ApiError> {
        let weight = self.weight.unwrap_or(before.weight);
        if !(1..=MOST_WEIGHT).contains(&weight) {
            return Err(refuse(
                format!("a weight of {weight} is not between 1 and {MOST_WEIGHT}"),
                "a workspace of weight 2 gets twice what one of weight 1 gets",
            ));
        }
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
        })
    }
}

/// GET: all of them.
pub(super) async fn list(
    State(shared): State<SharedRef>,
    caller: Caller,
) -> Result<Json<Value>, HttpError> {
    shared.require_operator(&caller).await?;
    let rows = shared.store.workspaces().await?;
    let workspaces: Vec<Value> = rows.iter().map(workspace_json).collect();
    Ok(Json(json!({ "workspaces": workspaces })))
}

/// POST: makes one; its first token is told here and never again.
pub(super) async fn create(
    State(shared): State<SharedRef>,
    caller: Caller,
    Json(wish): Json<Wish>,
) -> Result<Json<Value>, HttpError> {
    shared.require_operator(&caller).await?;
    let limits = wish.limits.over(WorkspaceLimits::default())?;
    let (row, token) = shared.store.by(&caller.actor).create_workspace(&wish.name, limits).await?;
    tell(&shared, &row).await?;
    let mut answer = workspace_json(&row);
    answer["token"] = json!(token);
    Ok(Json(answer))
}

/// PUT: says what one may have.
pub(super) async fn limit(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(name): Path<String>,
    Json(limits): Json<Limits>,
) -> Result<Json<Value>, HttpError> {
    shared.require_operator(&caller).await?;
    let rows = shared.store.workspaces().await?;
    let found = rows.into_iter().find(|row| row.name == name || row.id.to_string() == name);
    let before = found.ok_or_else(|| ApiError::NotFound { kind: "workspace", id: shown(&name) })?;
    let row = WorkspaceRow { limits: limits.over(before.limits)?, ..before };
    shared.store.by(&caller.actor).limit_workspace(row.id, row.limits).await?;
    tell(&shared, &row).await?;
    Ok(Json(workspace_json(&row)))
}

/// Tells the scheduler.
async fn tell(shared: &Shared, row: &WorkspaceRow) -> Result<(), ApiError> {
    shared.driver.input(workspace_input(row)).await
}

fn workspace_json(row: &WorkspaceRow) -> Value {
    json!({
        "id": row.id.to_string(),
        "name": row.name,
        "created_at": to_rfc3339(row.created_at),
        "weight": row.limits.weight,
        "max_containers": row.limits.max_containers,
        "max_cpu_millicores": row.limits.max_cpu_millicores,
        "max_memory_mib": row.limits.max_memory_mib,
        "max_gpus": row.limits.max_gpus,
    })
}
