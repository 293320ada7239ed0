//! GET /api/v1/logs/{workspace}: lines of output, searched and in pages.

use axum::Json;
use axum::extract::{Path, Query, State};
use chrono::{DateTime, Utc};
use metal9_store::UnixMicros;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::HttpError;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::log_search::{Line, Target, Wish};
use crate::shared::{Shared, SharedRef};
use crate::validate::{refuse, shown};

/// Lines of a page where the client does not say.
const USUAL: usize = 100;
/// Lines of a page at most.
const MOST: usize = 1000;
/// Lines that can be paged through.
const DEEPEST: usize = 100_000;

/// What the client asks for.
#[derive(Debug, Deserialize)]
pub(super) struct Parameters {
    object_id: String,
    object_type: String,
    #[serde(default)]
    limit: usize,
    #[serde(default)]
    page: usize,
    start_time: Option<String>,
    end_time: Option<String>,
    #[serde(default)]
    query: String,
}

impl Parameters {
    /// Whose lines are asked for, and which.
    ///
    /// # Errors
    /// If the workspace is another's, or what is asked for is not there or makes no sense.
    pub(super) async fn read(
        &self,
        shared: &Shared,
        caller: &Caller,
        workspace: &str,
    ) -> Result<(Target, Wish), ApiError> {
        caller.require_client()?;
        if workspace != caller.workspace.to_string() {
            return Err(ApiError::NotFound { kind: "workspace", id: shown(workspace) });
        }
        let target = Target::read(shared, caller, &self.object_type, &self.object_id).await?;
        let wish = Wish {
            since: self.start_time.as_deref().map(time).transpose()?,
            until: self.end_time.as_deref().map(time).transpose()?,
            text: self.query.clone(),
        };
        Ok((target, wish))
    }
}

fn time(text: &str) -> Result<UnixMicros, ApiError> {
    // A plus that was not encoded comes as a blank.
    let read = text.trim().replace(' ', "+").parse::<DateTime<Utc>>();
    read.map(|time| time.timestamp_micros()).map_err(|_| {
        refuse(format!("`{}` is no time", shown(text)), "write it as `2026-01-31T12:00:00Z`")
    })
}

/// The newest lines on page 0, older ones on the next; each page with the oldest line first.
pub(super) async fn page(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(workspace): Path<String>,
    Query(asked): Query<Parameters>,
) -> Result<Json<Value>, HttpError> {
    let (target, wish) = asked.read(&shared, &caller, &workspace).await?;
    let size = if asked.limit == 0 { USUAL } else { asked.limit.min(MOST) };
    let behind = asked.page.saturating_mul(size);
    if behind > DEEPEST {
        let what = format!("page {} is behind the {DEEPEST} newest lines", asked.page);
        return Err(refuse(what, "ask for an earlier `end_time`").into());
    }
    // One more, to know whether there are older ones.
    let mut lines = target.search(&shared, &wish, behind + size + 1).await?;
    lines.truncate(lines.len().saturating_sub(behind));
    let older = lines.len() > size;
    let lines = lines.split_off(lines.len().saturating_sub(size));
    let next_cursor = if older { (asked.page + 1).to_string() } else { String::new() };
    let logs: Vec<Value> = lines.iter().map(Line::json).collect();
    Ok(Json(json!({ "logs": logs, "next_cursor": next_cursor })))
}
