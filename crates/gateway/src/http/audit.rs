//! GET /api/v1/audit: who did what.

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::HttpError;
use crate::auth::Caller;
use crate::shared::SharedRef;
use metal9_store::AuditFilter;

use crate::timestamps::{now as unix_micros, to_rfc3339};

/// Lines in one answer at most.
const MOST: u32 = 1000;

/// What the client may ask for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    /// Only lines of the last so many seconds.
    #[param(value_type = Option<usize>)]
    since_seconds: Option<u64>,
    /// Only lines after this one.
    after: Option<i64>,
    /// Only what this token, task, worker or kind of actor did.
    actor: Option<String>,
    /// Lines at most.
    #[param(value_type = Option<usize>)]
    limit: Option<u64>,
}

/// Something that somebody did.
#[derive(Debug, Serialize, ToSchema)]
struct AuditLine {
    id: i64,
    at: String,
    /// `gateway`, `token`, `job`, `worker` or `nobody`.
    actor_kind: String,
    actor: String,
    /// The address that it came from; may be empty.
    peer: String,
    action: String,
    object: String,
    outcome: String,
    detail: String,
    /// How often, where the same came often.
    count: i64,
}

/// Lines of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditLog {
    /// The oldest first.
    audit: Vec<AuditLine>,
}

/// What was done in the workspace, and for who looks after the installation also what the gateway did
/// and what strangers tried; the oldest line first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(Parameters),
    responses((status = 200, body = AuditLog)))]
pub(super) async fn read(
    State(shared): State<SharedRef>,
    caller: Caller,
    Query(parameters): Query<Parameters>,
) -> Result<Json<AuditLog>, HttpError> {
    caller.require_owner()?;
    let since = parameters.since_seconds.map(|seconds| {
        let micros = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        unix_micros().saturating_sub(micros)
    });
    let filter = AuditFilter {
        after: parameters.after,
        since,
        actor: parameters.actor,
        limit: u32::try_from(parameters.limit.unwrap_or(u64::MAX)).map_or(MOST, |n| n.min(MOST)),
        // What the gateway did and what strangers tried is for who looks after the installation.
        own_only: shared.require_operator(&caller).await.is_err(),
    };
    let rows = shared.store.audit_log(caller.workspace, &filter).await?;
    let lines = rows.into_iter().map(|row| AuditLine {
        id: row.id,
        at: to_rfc3339(row.at),
        actor_kind: row.actor_kind,
        actor: row.actor,
        peer: row.peer,
        action: row.action,
        object: row.object,
        outcome: row.outcome,
        detail: row.detail,
        count: row.count,
    });
    Ok(Json(AuditLog { audit: lines.collect() }))
}
