//! Lines of output of a task, or of all tasks of a container, a stub, a deployment or an application.
//!
//! Output is kept by task, and that of containers that take requests by container, so what several
//! wrote is put together here, in the order of time.
//! However much there is, a search looks at so many tasks and so much text of each, the newest.

mod line;
mod reader;
mod source;

use std::collections::HashSet;

use metal9_store::{StoreError, TaskFilter, UnixMicros};
use metal9_types::{ContainerId, WorkspaceId};

use crate::auth::Caller;
use crate::deployed::own_deployment;
use crate::error::ApiError;
use crate::shared::Shared;
use crate::validate::shown;
pub(crate) use line::{Line, LogLine};
use line::{Splitter, wanted};
pub(crate) use reader::Reader;
pub(crate) use source::Source;

/// Tasks that a search looks at, the newest.
const MOST_TASKS: u32 = 500;
/// Bytes of each task's output that a search looks at, the newest.
const MOST_BYTES: u64 = 4 << 20;
/// Bytes of output that a search holds at a time.
const MOST_TOGETHER: usize = 64 << 20;

/// Whose output is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    workspace: WorkspaceId,
    filter: TaskFilter,
}

/// What of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    /// Lines of this time and later.
    pub(crate) since: Option<UnixMicros>,
    /// Lines before this time.
    pub(crate) until: Option<UnixMicros>,
    /// Lines with this text, whatever its case.
    pub(crate) text: String,
}

impl Target {
    /// Reads what the client names: `BETA9_TASK` and the like, and an id.
    ///
    /// # Errors
    /// If there is no such kind of thing, or not this one in the caller's workspace.
    pub(crate) async fn read(
        shared: &Shared,
        caller: &Caller,
        kind: &str,
        id: &str,
    ) -> Result<Self, ApiError> {
        let missing = |kind: &'static str| ApiError::NotFound { kind, id: shown(id) };
        let mut filter = TaskFilter { limit: MOST_TASKS, ..TaskFilter::default() };
        match kind.strip_prefix("BETA9_").unwrap_or(kind) {
            "TASK" => filter.ids = vec![id.parse().map_err(|_| missing("task"))?],
            "STUB" => filter.stubs = vec![id.parse().map_err(|_| missing("stub"))?],
            "CONTAINER" => {
                let container = ContainerId::from_api_name(id).map_err(|_| missing("container"))?;
                filter.containers = vec![container];
            }
            "DEPLOYMENT" => filter.stubs = vec![own_deployment(shared, caller, id).await?.stub],
            "APP" => filter.apps = vec![id.to_owned()],
            other => {
                return Err(ApiError::Invalid(format!(
                    "there are no logs of `{}`; ask for BETA9_TASK, BETA9_STUB, BETA9_CONTAINER, \
                     BETA9_DEPLOYMENT or BETA9_APP",
                    shown(other)
                )));
            }
        }
        Ok(Self { workspace: caller.workspace, filter })
    }

    /// Where its output is, the newest first: with its tasks, and with containers that take requests,
    /// which write for all of theirs.
    pub(crate) async fn sources(&self, shared: &Shared) -> Result<Vec<Source>, StoreError> {
        let rows = shared.store.list_tasks(self.workspace, &self.filter).await?;
        if !self.filter.ids.is_empty() {
            return Ok(rows.iter().map(Source::of_task).collect());
        }
        let containers = shared.store.served_containers(self.workspace, &self.filter).await?;
        let mut served = HashSet::new();
        for stub in rows.iter().map(|row| row.stub).collect::<HashSet<_>>() {
            let row = shared.store.stub(stub).await?;
            if row.is_some_and(|row| row.config.served().is_some()) {
                served.insert(stub);
            }
        }
        let tasks = rows.iter().filter(|row| !served.contains(&row.stub));
        let mut sources: Vec<_> = tasks.map(Source::of_task).collect();
        sources.extend(containers.iter().map(Source::of_container));
        sources.sort_by_key(|source| std::cmp::Reverse(source.created_at));
        Ok(sources)
    }

    /// Its lines that are wished for, the oldest first; only the newest `most` of them.
    pub(crate) async fn search(
        &self,
        shared: &Shared,
        wish: &Wish,
        most: usize,
    ) -> Result<Vec<Line>, ApiError> {
        let mut found: Vec<Line> = Vec::new();
        let mut bytes = 0;
        for source in self.sources(shared).await? {
            // Nothing that it wrote is older than itself, or newer than its end.
            let ended = source.ended_at;
            let over = ended.is_some_and(|end| wish.since.is_some_and(|since| end < since));
            if over || wish.until.is_some_and(|until| source.created_at >= until) {
                continue;
            }
            let end = shared.store.logs().len(source.log).await.map_err(unreadable)?;
            let mut reader = Reader::new(&source, end.saturating_sub(MOST_BYTES));
            reader.read(shared, end, wish, &mut found).await.map_err(unreadable)?;
            reader.rest(wish, &mut found);
            bytes += usize::try_from(end.min(MOST_BYTES)).unwrap_or(usize::MAX);
            if bytes > MOST_TOGETHER {
                break;
            }
        }
        found.sort_by_key(|line| line.at);
        let surplus = found.len().saturating_sub(most);
        Ok(found.split_off(surplus))
    }
}

fn unreadable(source: std::io::Error) -> ApiError {
    StoreError::File { doing: "read a log", path: "logs".into(), source }.into()
}
