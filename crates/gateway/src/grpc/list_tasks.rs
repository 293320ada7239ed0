//! ListTasks: the newest tasks of the workspace.

use metal9_proto::beta9::gateway::{ListTasksRequest, ListTasksResponse, Task};
use metal9_store::{TaskFilter, TaskRow};
use metal9_types::ContainerId;

use super::filters::{invalid, limit, parse};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;
use crate::timestamps::{to_proto, to_proto_or_blank};

const MAX_LIMIT: u32 = 10_000;

/// Lists tasks by the filters the SDK knows: `id`, `task-id`, `status`, `stub-id`, `stub-name`,
/// `container-id`.
pub(super) async fn list(
    shared: &Shared,
    caller: &Caller,
    request: ListTasksRequest,
) -> Result<ListTasksResponse, ApiError> {
    let limit = limit(request.limit, MAX_LIMIT);
    let mut filter = TaskFilter { limit, ..TaskFilter::default() };
    for (key, values) in &request.filters {
        read_filter(&mut filter, key, &values.values)?;
    }
    let rows = shared.store.list_tasks(caller.workspace, &filter).await?;
    let tasks: Vec<Task> = rows.iter().map(|row| task(row, &caller.workspace_name)).collect();
    let total = i32::try_from(tasks.len()).unwrap_or(i32::MAX);
    Ok(ListTasksResponse { ok: true, err_msg: String::new(), tasks, total })
}

fn read_filter(filter: &mut TaskFilter, key: &str, values: &[String]) -> Result<(), ApiError> {
    let texts = values.iter().map(String::as_str);
    match key {
        "id" | "task-id" => filter.ids = parse(texts)?,
        "status" => filter.statuses = parse(texts)?,
        "stub-id" => filter.stubs = parse(texts)?,
        "stub-name" => filter.stub_names = values.to_vec(),
        "container-id" => {
            let ids = values.iter().map(|name| ContainerId::from_api_name(name));
            filter.containers = ids.collect::<Result<_, _>>().map_err(invalid)?;
        }
        other => {
            return Err(ApiError::Invalid(format!(
                "tasks cannot be filtered by `{other}`; use id, status, stub-id, stub-name or \
                 container-id"
            )));
        }
    }
    Ok(())
}

fn task(row: &TaskRow, workspace_name: &str) -> Task {
    Task {
        id: row.id.to_string(),
        status: row.status.to_string(),
        container_id: row.container.map(|id| id.api_name(row.kind, row.stub)).unwrap_or_default(),
        started_at: Some(to_proto_or_blank(row.started_at)),
        ended_at: Some(to_proto_or_blank(row.ended_at)),
        stub_id: row.stub.to_string(),
        stub_name: row.stub_name.clone(),
        workspace_id: row.workspace.to_string(),
        workspace_name: workspace_name.to_owned(),
        created_at: Some(to_proto(row.created_at)),
        updated_at: Some(to_proto(row.updated_at)),
    }
}
