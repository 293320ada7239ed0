//! How many containers deployments were told to have, over what their stubs say.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use metal9_types::StubId;

/// The numbers by stub; what is not here goes by its stub.
#[derive(Debug, Default)]
pub(crate) struct Scales(RwLock<HashMap<StubId, u32>>);

impl Scales {
    /// How many containers a stub was told to have.
    pub(crate) fn of(&self, stub: StubId) -> Option<u32> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&stub).copied()
    }

    /// Tells a stub how many containers it has; nothing for as many as it says itself.
    pub(crate) fn set(&self, stub: StubId, containers: Option<u32>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match containers {
            Some(count) => all.insert(stub, count),
            None => all.remove(&stub),
        };
    }
}
