//! GET /api/v1/audit: who did what.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::HttpError;
use crate::auth::Caller;
use crate::shared::SharedRef;
use metal9_store::AuditFilter;

use crate::timestamps::{now as unix_micros, to_rfc3339};

/// Lines in one answer at most.
const MOST: u32 = 1000;

/// What the client may ask for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    /// Only lines of the last so many seconds.
    since_seconds: Option<u64>,
    /// Only lines after this one.
    after: Option<i64>,
    /// Only what this token, task, worker or kind of actor did.
    actor: Option<String>,
    /// Lines at most.
    limit: Option<u32>,
}

/// Lines of the audit log, oldest first.
pub(super) async fn read(
    State(shared): State<SharedRef>,
    caller: Caller,
    Query(parameters): Query<Parameters>,
) -> Result<Json<Value>, HttpError> {
    caller.require_owner()?;
    let since = parameters.since_seconds.map(|seconds| {
        let micros = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        unix_micros().saturating_sub(micros)
    });
    let filter = AuditFilter {
        after: parameters.after,
        since,
        actor: parameters.actor,
        limit: parameters.limit.unwrap_or(MOST).min(MOST),
    };
    let rows = shared.store.audit_log(caller.workspace, &filter).await?;
    let lines: Vec<Value> = rows
        .into_iter()
        .map(|row| {
            json!({
                "id": row.id,
                "at": to_rfc3339(row.at),
                "actor_kind": row.actor_kind,
                "actor": row.actor,
                "peer": row.peer,
                "action": row.action,
                "object": row.object,
                "outcome": row.outcome,
                "detail": row.detail,
                "count": row.count,
            })
        })
        .collect();
    Ok(Json(json!({ "audit": lines })))
}
