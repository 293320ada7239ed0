//! Numbering attempts and containers.

use metal9_types::{AttemptId, ContainerId};

/// Gives out ids whose upper half is the gateway's epoch.
#[derive(Debug)]
pub(crate) struct Ids {
    epoch: u32,
    attempts: u32,
    containers: u32,
}

impl Ids {
    pub(crate) fn new(epoch: u32) -> Self {
        Self { epoch, attempts: 0, containers: 0 }
    }

    pub(crate) fn attempt(&mut self) -> AttemptId {
        self.attempts = self.attempts.wrapping_add(1);
        AttemptId(Self::join(self.epoch, self.attempts))
    }

    pub(crate) fn container(&mut self) -> ContainerId {
        self.containers = self.containers.wrapping_add(1);
        ContainerId(Self::join(self.epoch, self.containers))
    }

    /// `true` if this gateway, or an earlier one of the same state, can have given the id: taking
    /// an id that is still to come from a worker's word would let two attempts share it.
    pub(crate) fn was_given_attempt(&self, attempt: AttemptId) -> bool {
        attempt.0 <= Self::join(self.epoch, self.attempts)
    }

    /// The same for containers.
    pub(crate) fn was_given_container(&self, container: ContainerId) -> bool {
        container.0 <= Self::join(self.epoch, self.containers)
    }

    fn join(epoch: u32, counter: u32) -> u64 {
        u64::from(epoch) << 32 | u64::from(counter)
    }
}
