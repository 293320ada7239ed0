//! Ends of attempts that workers have reported and that are not on disk yet.
//!
//! Until an end is durable its worker must keep the report, even if the worker comes back in a new
//! session meanwhile: the scheduler has forgotten the attempt by then and would have it dropped.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use metal9_types::{AttemptId, SessionId};

/// Ends on their way to the disk, and the session in which each is to be acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    waiting: Mutex<HashMap<AttemptId, SessionId>>,
}

impl Ends {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<AttemptId, SessionId>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An end is on its way to the disk.
    pub(crate) fn expect(&self, attempt: AttemptId, session: SessionId) {
        self.lock().insert(attempt, session);
    }

    /// `true` while the end is on its way to the disk.
    pub(crate) fn is_waiting(&self, attempt: AttemptId) -> bool {
        self.lock().contains_key(&attempt)
    }

    /// The same end was reported again: it is to be acknowledged there. `false` if it is not on its
    /// way to the disk.
    pub(crate) fn redirect(&self, attempt: AttemptId, session: SessionId) -> bool {
        match self.lock().get_mut(&attempt) {
            Some(acknowledge) => {
                *acknowledge = session;
                true
            }
            None => false,
        }
    }

    /// The end is on disk; returns where to acknowledge it.
    pub(crate) fn settle(&self, attempt: AttemptId) -> Option<SessionId> {
        self.lock().remove(&attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_is_reported_again_is_acknowledged_in_the_later_session() {
        let ends = Ends::default();
        let attempt = AttemptId(7);
        assert!(!ends.redirect(attempt, SessionId(1)));
        ends.expect(attempt, SessionId(1));
        assert!(ends.is_waiting(attempt));
        assert!(ends.redirect(attempt, SessionId(2)));
        assert_eq!(ends.settle(attempt), Some(SessionId(2)));
        assert!(!ends.is_waiting(attempt));
        assert_eq!(ends.settle(attempt), None);
    }
}
