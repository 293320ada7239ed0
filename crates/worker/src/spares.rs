//! Spare runners: processes that have already imported the SDK, one for each of the environments
//! that were used last.

use std::collections::VecDeque;

use metal9_env::Environment;

/// How many environments have a spare.
const ENVIRONMENTS: usize = 2;

#[derive(Debug)]
enum Slot<R> {
    Empty,
    /// One is being made.
    Making,
    Ready(R),
    /// The last one could not be made: not before the environment is used again.
    Failed,
}

/// The spares, most recently used environment first.
#[derive(Debug)]
pub(crate) struct Spares<R> {
    slots: VecDeque<(Environment, Slot<R>)>,
}

impl<R> Spares<R> {
    pub(crate) fn new() -> Self {
        Self { slots: VecDeque::new() }
    }

    /// An environment is used: returns its spare if there is one.
    pub(crate) fn take(&mut self, environment: Environment) -> Option<R> {
        let at = self.slots.iter().position(|(known, _)| known.hash == environment.hash);
        let slot = at.and_then(|at| self.slots.remove(at)).map(|(_, slot)| slot);
        let (spare, slot) = match slot {
            Some(Slot::Ready(spare)) => (Some(spare), Slot::Empty),
            Some(Slot::Making) => (None, Slot::Making),
            Some(Slot::Empty | Slot::Failed) | None => (None, Slot::Empty),
        };
        self.slots.push_front((environment, slot));
        self.slots.truncate(ENVIRONMENTS);
        spare
    }

    /// An environment whose spare is to be made now; one at a time.
    pub(crate) fn wanted(&mut self) -> Option<Environment> {
        if self.slots.iter().any(|(_, slot)| matches!(slot, Slot::Making)) {
            return None;
        }
        let (environment, slot) =
            self.slots.iter_mut().find(|(_, slot)| matches!(slot, Slot::Empty))?;
        *slot = Slot::Making;
        Some(environment.clone())
    }

    /// A spare was made, or could not be. One that is not wanted any more is dropped.
    pub(crate) fn made(&mut self, environment: &str, spare: Option<R>) {
        let slot = self.slots.iter_mut().find(|(known, _)| known.hash == environment);
        if let Some((_, slot @ Slot::Making)) = slot {
            *slot = spare.map_or(Slot::Failed, Slot::Ready);
        }
    }

    /// Drops all spares, and makes no more of them until an environment is used.
    pub(crate) fn clear(&mut self) {
        self.slots.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(hash: &str) -> Environment {
        let lease = metal9_env::Lease::default();
        Environment { hash: hash.into(), dir: "/e".into(), python: "/e/bin/python".into(), lease }
    }

    #[test]
    fn a_used_environment_gets_one_spare_and_another_once_that_is_taken() {
        let mut spares = Spares::new();
        assert_eq!(spares.take(environment("a")), None);
        assert_eq!(spares.wanted(), Some(environment("a")));
        assert_eq!(spares.wanted(), None, "one is being made");
        spares.made("a", Some(1));
        assert_eq!(spares.wanted(), None);
        assert_eq!(spares.take(environment("a")), Some(1));
        assert_eq!(spares.wanted(), Some(environment("a")));
    }

    #[test]
    fn only_the_last_two_environments_keep_a_spare() {
        let mut spares = Spares::new();
        for hash in ["a", "b", "c"] {
            spares.take(environment(hash));
            spares.wanted();
            spares.made(hash, Some(hash.to_owned()));
        }
        assert_eq!(spares.take(environment("a")), None);
        assert_eq!(spares.take(environment("c")), Some("c".to_owned()));
    }

    #[test]
    fn an_environment_whose_spare_failed_waits_for_its_next_use() {
        let mut spares = Spares::<u8>::new();
        spares.take(environment("a"));
        spares.wanted();
        spares.made("a", None);
        assert_eq!(spares.wanted(), None);
        spares.take(environment("a"));
        assert_eq!(spares.wanted(), Some(environment("a")));
    }

    #[test]
    fn a_spare_that_comes_too_late_is_dropped() {
        let mut spares = Spares::new();
        spares.take(environment("a"));
        spares.wanted();
        spares.clear();
        spares.made("a", Some(1));
        assert_eq!(spares.take(environment("a")), None);
    }
}
