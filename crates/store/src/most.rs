//! How many things of a kind a workspace may have: more than anybody needs, and a bound on what one
//! can fill the database with.

use crate::StoreError;

/// Tokens that have not run out.
pub(crate) const MOST_TOKENS: i64 = 10_000;
/// Secrets; as many as one function may name.
pub(crate) const MOST_SECRETS: i64 = 1000;
/// Deployments, all their versions, and names that something was ever deployed under.
pub(crate) const MOST_DEPLOYMENTS: i64 = 100_000;
/// Pools that somebody made.
pub(crate) const MOST_POOLS: i64 = 1000;

/// How making one more went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Made {
    New,
    There,
    TooMany,
}

/// Refuses one more.
pub(crate) fn too_many(most: i64, what: &str, hint: &str) -> StoreError {
    let what = format!("this workspace has {most} {what}, which is its limit\nhint: {hint}");
    StoreError::OverLimit { what }
}
