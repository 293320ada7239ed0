//! What a worker may reach of the workspaces whose calls it runs.
//!
//! Workers are shared, so their own workspace says nothing. A worker gets at the code and the volumes
//! of the stubs that it has work of, and at nothing else.

use std::sync::Arc;

use metal9_store::StubRow;
use metal9_types::WorkerId;

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
    let stubs = shared.driver.query(move |core, _| core.stubs_at_work(worker)).await?;
    let stubs = stubs.ok_or(ApiError::Unavailable("the worker is not connected yet"))?;
    for stub in stubs {
        if let Some(stub) = shared.store.stub(stub).await?.filter(|stub| gives(stub)) {
            return Ok(Some(stub));
        }
    }
    Ok(None)
}
