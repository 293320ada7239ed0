//! Why containers that served have ended, for the requests that were in them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use metal9_types::{Failure, TaskId};

/// How many ends are known at a time: a request asks within moments.
const KEPT: usize = 256;

/// The last ends, by their holds.
#[derive(Debug, Default)]
pub(super) struct Deaths(Mutex<VecDeque<(TaskId, Failure)>>);

impl Deaths {
    pub(super) fn note(&self, hold: TaskId, failure: Failure) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT {
            known.pop_front();
        }
        known.push_back((hold, failure));
    }

    pub(super) fn find(&self, hold: TaskId) -> Option<Failure> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().rev().find(|(ended, _)| *ended == hold).map(|(_, failure)| failure.clone())
    }
}

#[cfg(test)]
mod tests {
    use metal9_types::FailureKind;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_last_end_of_a_hold_is_told_and_old_ones_are_forgotten() {
        let deaths = Deaths::default();
        let hold = |number| TaskId(Uuid::from_u128(number));
        let failure = |text: &str| Failure::new(FailureKind::Crash, text);
        deaths.note(hold(1), failure("first"));
        deaths.note(hold(1), failure("second"));
        assert_eq!(deaths.find(hold(1)).unwrap().message, "second");
        assert!(deaths.find(hold(2)).is_none());
        (2..).take(KEPT).for_each(|number| deaths.note(hold(number), failure("other")));
        assert!(deaths.find(hold(1)).is_none());
    }
}
