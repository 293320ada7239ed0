//! What a worker may reach of the workspaces whose calls it runs.
//!
//! Workers are shared, so their own workspace says nothing. A worker gets at the code and the volumes
//! of the stubs that it has work of, and at nothing else.

use std::sync::Arc;

use metal9_store::StubRow;
use metal9_types::{ObjectId, WorkerId};

use crate::error::ApiError;
use crate::shared::Shared;

/// A stub that the worker has work of and that `gives` what is asked for; nothing if there is none.
///
/// # Errors
/// If the worker has not said yet what it runs: after a restart of either it may ask too early, and
/// is to ask again.
pub(super) async fn stub_at_work(
    shared: &Shared,
    worker: WorkerId,
    gives: impl Fn(&StubRow) -> bool,
) -> Result<Option<Arc<StubRow>>, ApiError> {
    let stubs = shared.driver.query(move |core, now| core.stubs_at_work(now, worker)).await?;
    let stubs = stubs.ok_or(ApiError::Unavailable("the worker is not connected yet"))?;
    for stub in stubs {
        if let Some(stub) = shared.store.stub(stub).await?.filter(|stub| gives(stub)) {
            return Ok(Some(stub));
        }
    }
    Ok(None)
}

/// Whether an image that the worker builds, or runs a container of, copies from an object.
///
/// # Errors
/// As [`stub_at_work`].
pub(super) async fn is_context(
    shared: &Shared,
    worker: WorkerId,
    object: ObjectId,
) -> Result<bool, ApiError> {
    let own = shared.fleet.connections();
    let mut own = own.iter().filter(|(_, connection)| connection.worker == worker);
    if own.any(|(session, _)| shared.builds.copies_from(*session, object)) {
        return Ok(true);
    }
    let stubs = shared.driver.query(move |core, now| core.stubs_at_work(now, worker)).await?;
    for stub in stubs.unwrap_or_default() {
        let Some(stub) = shared.store.stub(stub).await? else { continue };
        let image = shared.store.image(&stub.config.image).await?;
        if image.is_some_and(|image| image.build_context.parse() == Ok(object)) {
            return Ok(true);
        }
    }
    Ok(false)
}
