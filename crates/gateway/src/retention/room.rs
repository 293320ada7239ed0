//! Making room: by what ended first of who holds the most, and by stubs that nobody uses.

use std::collections::HashMap;
use std::time::Duration;

use metal9_store::StoreError;
use metal9_types::WorkspaceId;

use super::{BATCH, Removed, ago};
use crate::shared::Shared;

/// Tasks removed at a time where the disk is short, at first: they may be large.
const FIRST_BATCH: u32 = 8;

/// How long a stub must not have been used to go from a workspace that has many.
const UNUSED: Duration = Duration::from_hours(24);

/// Makes room within the budget of ended tasks.
pub(super) async fn within_budget(
    shared: &Shared,
    removed: &mut Removed,
) -> Result<(), StoreError> {
    let store = &shared.store;
    let budget = shared.options.keep_ended_mib.saturating_mul(1024 * 1024);
    if store.kept_bytes().await? + store.log_bytes().await? <= budget {
        return Ok(());
    }
    let mut logs = store.log_bytes_each().await?;
    while !shared.shutdown.is_cancelled() {
        let held = held(shared, &logs).await?;
        if held.values().sum::<u64>() <= budget
            || evict(shared, held, &mut logs, BATCH, removed).await? == 0
        {
            break;
        }
    }
    Ok(())
}

/// Makes room on the disk, as long as less is free than new calls need.
pub(super) async fn on_disk(shared: &Shared, removed: &mut Removed) -> Result<(), StoreError> {
    let store = &shared.store;
    let mut logs = None;
    let mut batch = FIRST_BATCH;
    while !shared.shutdown.is_cancelled() {
        let missing = shared.disk.missing();
        if missing == 0 {
            break;
        }
        if store.give_back().await? > 0 {
            continue;
        }
        // A database that cannot be cut off uses what is free in it for what comes.
        if store.free_in_database().await? >= missing {
            break;
        }
        let logs = match &mut logs {
            Some(logs) => logs,
            None => logs.insert(store.log_bytes_each().await?),
        };
        let held = held(shared, logs).await?;
        if evict(shared, held, logs, batch, removed).await? == 0 {
            break;
        }
        batch = (batch * 2).min(BATCH);
    }
    Ok(())
}

/// Makes room for stubs in workspaces that have many.
pub(super) async fn for_stubs(shared: &Shared, removed: &mut Removed) -> Result<(), StoreError> {
    let quota = shared.options.stub_quota();
    loop {
        let count = shared.store.forget_stubs_of_full(quota, ago(UNUSED), BATCH).await?;
        removed.unused.stubs += count;
        if count == 0 || shared.shutdown.is_cancelled() {
            return Ok(());
        }
    }
}

/// What ended tasks of each workspace take, with their logs.
async fn held(
    shared: &Shared,
    logs: &HashMap<WorkspaceId, u64>,
) -> Result<HashMap<WorkspaceId, u64>, StoreError> {
    let mut held = shared.store.kept_bytes_each().await?;
    for (workspace, bytes) in logs {
        *held.entry(*workspace).or_default() += bytes;
    }
    Ok(held)
}

/// Removes what ended first of the workspace that holds the most, and returns how much that was. One
/// that holds less than others do on average loses nothing to them, even where what they hold is too
/// young to go.
async fn evict(
    shared: &Shared,
    held: HashMap<WorkspaceId, u64>,
    logs: &mut HashMap<WorkspaceId, u64>,
    most: u32,
    removed: &mut Removed,
) -> Result<usize, StoreError> {
    let (store, options) = (&shared.store, &shared.options);
    let before = ago(options.keep_ended_at_least().min(options.keep_ended()));
    for workspace in largest(held) {
        let tasks = store.forget_ended(workspace, before, most).await?;
        let served = store.forget_served(workspace, before, most).await?;
        removed.tasks += tasks.count;
        if let Some(bytes) = logs.get_mut(&workspace) {
            *bytes = bytes.saturating_sub(tasks.log_bytes + served.log_bytes);
        }
        if tasks.count + served.count > 0 {
            return Ok(tasks.count + served.count);
        }
    }
    Ok(0)
}

/// Those that hold no less than the average, the largest first.
fn largest(held: HashMap<WorkspaceId, u64>) -> Vec<WorkspaceId> {
    let some = |(_, bytes): &(WorkspaceId, u64)| *bytes > 0;
    let mut held: Vec<_> = held.into_iter().filter(some).collect();
    let sum: u64 = held.iter().map(|(_, bytes)| bytes).sum();
    let average = sum / (held.len() as u64).max(1);
    held.retain(|(_, bytes)| *bytes >= average);
    held.sort_by_key(|(workspace, bytes)| (std::cmp::Reverse(*bytes), *workspace));
    held.into_iter().map(|(workspace, _)| workspace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn who_holds_little_loses_nothing_to_who_holds_much() {
        let workspace = |number| WorkspaceId(Uuid::from_u128(number));
        let held = |all: &[(u128, u64)]| {
            all.iter().map(|(number, bytes)| (workspace(*number), *bytes)).collect()
        };
        assert_eq!(largest(held(&[])), []);
        assert_eq!(largest(held(&[(1, 7)])), [workspace(1)]);
        assert_eq!(
            largest(held(&[(1, 10), (2, 500), (3, 600), (4, 0)])),
            [workspace(3), workspace(2)]
        );
        assert_eq!(largest(held(&[(1, 5), (2, 5)])), [workspace(1), workspace(2)]);
    }
}
