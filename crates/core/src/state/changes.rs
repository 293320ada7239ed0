//! What the next round of scheduling must look at.

use std::collections::BTreeSet;

use metal9_types::{StubId, WorkerId};

use super::GroupKey;

/// What has changed since the last round of scheduling.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Workers on which room may have appeared.
    pub(crate) rooms: BTreeSet<WorkerId>,
    /// Queues that got tasks or lost a promise.
    pub(crate) groups: BTreeSet<GroupKey>,
    /// Stubs with waiting tasks whose containers did something.
    pub(crate) stubs: BTreeSet<StubId>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.rooms.is_empty() && self.groups.is_empty() && self.stubs.is_empty()
    }
}
