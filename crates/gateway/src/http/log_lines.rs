//! GET /api/v1/logs/{workspace}: lines of output, searched and in pages.

use axum::Json;
use axum::extract::{Path, Query, State};
use chrono::{DateTime, Utc};
use metal9_store::UnixMicros;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::HttpError;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::log_search::{Line, LogLine, Target, Wish};
use crate::shared::{Shared, SharedRef};
use crate::validate::{refuse, shown};

/// Lines of a page where the client does not say.
const USUAL: usize = 100;
/// Lines of a page at most.
const MOST: usize = 1000;
/// Lines that can be paged through.
const DEEPEST: usize = 100_000;

/// What the client asks for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Whose lines.
    object_id: String,
    /// What that is: `BETA9_TASK`, `BETA9_CONTAINER`, `BETA9_DEPLOYMENT`, `BETA9_STUB` or
    /// `BETA9_APP`.
    #[param(pattern = "^BETA9_(TASK|CONTAINER|DEPLOYMENT|STUB|APP)$")]
    object_type: String,
    /// Lines of a page, at most 1000; 100 where nothing is said.
    #[serde(default)]
    limit: usize,
    /// 0 for the newest lines, 1 for those before them, and so on.
    #[serde(default)]
    page: usize,
    /// Only lines from this time on, as `2026-01-31T12:00:00Z`.
    #[param(format = DateTime)]
    start_time: Option<String>,
    /// Only lines before this time.
    #[param(format = DateTime)]
    end_time: Option<String>,
    /// Only lines with this text.
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

/// Lines of output.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page {
    /// The oldest line first.
    logs: Vec<LogLine>,
    /// The number of the page with older lines; empty if there are none.
    next_cursor: String,
}

/// The newest lines on page 0, older ones on the next; each page with the oldest line first.
#[utoipa::path(get, path = "/api/v1/logs/{workspace}", tag = "logs",
    params(("workspace" = String, Path, description = "The workspace's id"), Parameters),
    responses((status = 200, body = Page)))]
pub(super) async fn page(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(workspace): Path<String>,
    Query(asked): Query<Parameters>,
) -> Result<Json<Page>, HttpError> {
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
    let logs = lines.into_iter().map(Line::told).collect();
    Ok(Json(Page { logs, next_cursor }))
}
