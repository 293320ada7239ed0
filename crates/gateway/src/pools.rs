//! Which pools there are, and what uses one.

use metal9_types::WorkspaceId;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::joining::DEFAULT_POOL;
use crate::shared::Shared;

/// Names of users of a pool that a refusal tells.
const MOST_NAMED: usize = 5;

/// Refuses a pool that nobody made, no worker of the caller's workspace has joined and no setting
/// names.
pub(crate) async fn require(shared: &Shared, caller: &Caller, pool: &str) -> Result<(), ApiError> {
    if pool == DEFAULT_POOL || shared.options.is_untrusted(pool) {
        return Ok(());
    }
    let store = &shared.store;
    let is_made = store.pools(caller.workspace).await?.iter().any(|row| row.name == pool);
    if is_made || store.list_workers(caller.workspace).await?.iter().any(|row| row.pool == pool) {
        return Ok(());
    }
    Err(ApiError::NotFound { kind: "pool", id: pool.to_owned() })
}

/// Refuses to take a pool away that workers are in, or that functions need.
pub(crate) async fn require_unused(
    shared: &Shared,
    workspace: WorkspaceId,
    pool: &str,
) -> Result<(), ApiError> {
    let rows = shared.store.list_workers(workspace).await?;
    let workers: Vec<_> = rows
        .iter()
        .filter(|row| row.pool == pool && row.revoked_at.is_none())
        .map(|row| format!("{} ({})", row.hostname, row.id))
        .collect();
    if !workers.is_empty() {
        return Err(ApiError::Conflict(format!(
            "machines are in pool `{pool}`: {}\nhint: `beta9 machine delete ID` takes one out",
            named(&workers)
        )));
    }
    let users = shared.store.pool_users(pool).await?;
    let (own, others): (Vec<_>, Vec<_>) =
        users.into_iter().partition(|user| user.workspace == workspace);
    let mut stubs: Vec<_> = own.into_iter().map(|user| user.stub).collect();
    stubs.dedup();
    // What others call theirs is not the caller's to know.
    if !others.is_empty() {
        stubs.push(format!("{} of other workspaces", others.len()));
    }
    if !stubs.is_empty() {
        return Err(ApiError::Conflict(format!(
            "deployments or calls need pool `{pool}`: {}\nhint: stop them first",
            named(&stubs)
        )));
    }
    Ok(())
}

/// The first names, and how many more there are.
fn named(names: &[String]) -> String {
    let shown = names[..names.len().min(MOST_NAMED)].join(", ");
    match names.len().saturating_sub(MOST_NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_counted() {
        let names: Vec<_> = (1..=7).map(|n| n.to_string()).collect();
        assert_eq!(named(&names[..1]), "1");
        assert_eq!(named(&names[..5]), "1, 2, 3, 4, 5");
        assert_eq!(named(&names), "1, 2, 3, 4, 5 and 2 more");
    }
}
