//! Workers that are to get nothing new, workers that are to become empty, and workers that are to go.
//!
//! What somebody asked for is written down before the scheduler hears of it, so that it holds after
//! a restart too.

use std::time::Duration;

use metal9_core::Input;
use metal9_types::WorkerId;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;
use crate::timestamps;

/// How long running calls may go on where nobody says.
pub(crate) const DEFAULT_DEADLINE: Duration = Duration::from_secs(5 * 60);
/// The longest that may be asked for.
pub(crate) const LONGEST_DEADLINE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is to become of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Nothing new; what runs goes on.
    Cordon,
    /// It may get work again.
    Uncordon,
    /// Nothing new; what still runs after this time is made elsewhere.
    Drain(Duration),
}

/// Does it, for a worker of the caller's workspace.
pub(crate) async fn carry_out(
    shared: &Shared,
    caller: &Caller,
    id: &str,
    wish: Wish,
) -> Result<WorkerId, ApiError> {
    caller.require_owner()?;
    let missing = || ApiError::NotFound { kind: "worker", id: id.to_owned() };
    let worker: WorkerId = id.trim().parse().map_err(|_| missing())?;
    let drain_until = match wish {
        Wish::Drain(within) => {
            let micros = i64::try_from(within.as_micros()).unwrap_or(i64::MAX);
            Some(timestamps::now().saturating_add(micros))
        }
        _ => None,
    };
    let cordoned = wish != Wish::Uncordon;
    let store = shared.store.by(&caller.actor);
    if !store.cordon_worker(caller.workspace, worker, cordoned, drain_until).await? {
        return Err(missing());
    }
    tracing::info!(%worker, ?wish, "a worker's standing was changed");
    shared.driver.input(Input::Cordon { worker, on: cordoned }).await?;
    if let Wish::Drain(within) = wish {
        shared.driver.input(Input::Drain { worker, within }).await?;
    }
    Ok(worker)
}

/// Cuts a worker off and gives what it was doing to others. It is in the database already that it
/// may not come back.
pub(crate) async fn shut_out(shared: &Shared, worker: WorkerId) -> Result<(), ApiError> {
    shared.fleet.cut(worker);
    shared.driver.input(Input::WorkerRevoked { worker }).await
}
