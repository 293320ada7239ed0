//! Spare runners: processes that have already imported the SDK, for the environments that were used
//! last. A new stub takes one and is ready in milliseconds.
//!
//! One spare per environment is kept, and as many as were wanted within a few seconds once that has
//! been more; these are made while no call runs, since making one takes as much as hundreds of
//! calls. A container that comes while a spare is being made waits for that one: it is ready sooner
//! than another that is begun now.
//!
//! Where a runner can become only some stubs of its environment, as on macOS, each [`Shape`] has its own.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use metal9_env::Environment;

use crate::runner::Shape;

/// How many environments have spares.
const ENVIRONMENTS: usize = 2;

/// Uses within this time count as one burst.
const BURST: Duration = Duration::from_secs(10);

/// How long spares are kept for another burst like the last one.
const REMEMBERED: Duration = Duration::from_secs(600);

/// What one spare may take of the machine: it needs about 50 MiB, and spares together should not
/// take more than a sixteenth of what jobs may use.
const MIB_PER_SPARE: u64 = 16 * 50;

/// The most spares there are, however large the machine.
const MOST: usize = 8;

/// How many spares a worker may keep whose jobs may use this much memory, in MiB.
pub(crate) fn most(memory_mib: u64) -> usize {
    usize::try_from(memory_mib / MIB_PER_SPARE).unwrap_or(MOST).clamp(ENVIRONMENTS, MOST)
}

/// What a runner is made of that cannot be changed any more.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kind {
    pub(crate) environment: Environment,
    pub(crate) shape: Shape,
}

/// The hash of an environment, and a shape.
pub(crate) type Key = (String, Shape);

impl Kind {
    pub(crate) fn key(&self) -> Key {
        (self.environment.hash.clone(), self.shape)
    }

    fn is(&self, (hash, shape): &Key) -> bool {
        self.environment.hash == *hash && self.shape == *shape
    }
}

/// The spares of one kind.
#[derive(Debug)]
struct Pool<R, W> {
    kind: Kind,
    ready: Vec<R>,
    making: usize,
    /// The last one could not be made: not before the environment is used again.
    failed: bool,
    /// Who waits for the ones that are being made; never more than those.
    waiting: VecDeque<W>,
    /// The last uses, oldest first.
    uses: VecDeque<Instant>,
    /// How many spares there should be, until when.
    wish: (usize, Option<Instant>),
}

impl<R, W> Pool<R, W> {
    fn new(kind: Kind) -> Self {
        let (ready, waiting, uses) = (Vec::new(), VecDeque::new(), VecDeque::new());
        Self { kind, ready, making: 0, failed: false, waiting, uses, wish: (1, None) }
    }

    /// Takes note of a use.
    fn used(&mut self, now: Instant, most: usize) {
        self.failed = false;
        self.uses.push_back(now);
        let begun = now.checked_sub(BURST).unwrap_or(now);
        while self.uses.len() > most || self.uses.front().is_some_and(|at| *at < begun) {
            self.uses.pop_front();
        }
        let wish = self.wish(now).max(self.uses.len());
        if self.uses.len() > 1 && self.uses.len() == wish {
            self.wish = (wish, Some(now + REMEMBERED));
        }
    }

    fn wish(&self, now: Instant) -> usize {
        match self.wish {
            (wish, Some(until)) if now < until => wish,
            _ => 1,
        }
    }

    /// Those that are there or will be, without those that somebody waits for.
    fn stock(&self) -> usize {
        self.ready.len() + self.making - self.waiting.len()
    }
}

/// What somebody who wants a spare gets.
#[derive(Debug, PartialEq)]
pub(crate) enum Taken<R, W> {
    /// One that is ready.
    Ready(W, R),
    /// The one that is being made, as soon as it is; [`Spares::made`] hands it out.
    Soon,
    /// None.
    Nothing(W),
}

/// The spares, most recently used environment first. `R` are runners, `W` those who wait for one.
#[derive(Debug)]
pub(crate) struct Spares<R, W> {
    pools: VecDeque<Pool<R, W>>,
    most: usize,
}

impl<R, W> Spares<R, W> {
    /// At most this many spares together.
    pub(crate) fn new(most: usize) -> Self {
        Self { pools: VecDeque::new(), most }
    }

    /// An environment will be used: it has a spare from now on.
    pub(crate) fn prepare(&mut self, kind: Kind) {
        if self.pool(&kind.key()).is_none() {
            self.pools.push_front(Pool::new(kind));
            self.pools.truncate(ENVIRONMENTS);
        }
    }

    /// An environment is used by `who`, who wants a spare if there is one.
    pub(crate) fn take(&mut self, now: Instant, kind: Kind, who: W) -> Taken<R, W> {
        let key = kind.key();
        let at = self.pools.iter().position(|pool| pool.kind.is(&key));
        let known = at.and_then(|at| self.pools.remove(at));
        let mut pool = known.unwrap_or_else(|| Pool::new(kind));
        pool.used(now, self.most);
        let taken = match pool.ready.pop() {
            Some(spare) => Taken::Ready(who, spare),
            None if pool.waiting.len() < pool.making => {
                pool.waiting.push_back(who);
                Taken::Soon
            }
            None => Taken::Nothing(who),
        };
        self.pools.push_front(pool);
        self.pools.truncate(ENVIRONMENTS);
        taken
    }

    /// An environment of which a spare is to be made now; one at a time. First every environment
    /// gets one; more than that only if the worker is `quiet`, so no call runs.
    pub(crate) fn wanted(&mut self, now: Instant, quiet: bool) -> Option<Kind> {
        let mut total = 0;
        for pool in &mut self.pools {
            if pool.making > 0 {
                return None;
            }
            let surplus = pool.ready.len().saturating_sub(pool.wish(now));
            pool.ready.drain(..surplus);
            total += pool.ready.len();
        }
        if total >= self.most {
            return None;
        }
        let wish = |pool: &Pool<R, W>| if quiet { pool.wish(now) } else { 1 };
        let lacks = |pool: &&mut Pool<R, W>| !pool.failed && pool.stock() < wish(pool);
        let pool = self.pools.iter_mut().filter(lacks).min_by_key(|pool| pool.stock().min(1))?;
        pool.making += 1;
        Some(pool.kind.clone())
    }

    /// A spare was made, or could not be. Gives back who has waited for it, with the spare; one
    /// that nobody waits for is kept if its environment is still among the last.
    pub(crate) fn made(&mut self, key: &Key, spare: Option<R>) -> Option<(W, Option<R>)> {
        let pool = self.pool(key)?;
        pool.making = pool.making.saturating_sub(1);
        pool.failed = spare.is_none();
        match pool.waiting.pop_front() {
            Some(who) => Some((who, spare)),
            None => {
                pool.ready.extend(spare);
                None
            }
        }
    }

    /// A spare comes back from somebody who has gone.
    pub(crate) fn give_back(&mut self, key: &Key, spare: R) {
        if let Some(pool) = self.pool(key) {
            pool.ready.push(spare);
        }
    }

    /// Drops all spares, and makes no more of them until an environment is used.
    pub(crate) fn clear(&mut self) {
        self.pools.clear();
    }

    fn pool(&mut self, key: &Key) -> Option<&mut Pool<R, W>> {
        self.pools.iter_mut().find(|pool| pool.kind.is(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Strings = Spares<String, u8>;

    fn environment(hash: &str) -> Kind {
        let lease = metal9_env::Lease::default();
        let environment = Environment {
            hash: hash.into(),
            dir: "/e".into(),
            python: "/e/bin/python".into(),
            lease,
        };
        Kind { environment, shape: Shape::default() }
    }

    fn key(hash: &str) -> Key {
        environment(hash).key()
    }

    fn ready(who: u8, spare: &str) -> Taken<String, u8> {
        Taken::Ready(who, spare.to_owned())
    }

    /// Makes spares until none is wanted; returns how many.
    fn fill(spares: &mut Strings, now: Instant) -> usize {
        let mut made = 0;
        while let Some(environment) = spares.wanted(now, true) {
            let name = format!("{}{made}", environment.environment.hash);
            assert_eq!(spares.made(&environment.key(), Some(name)), None);
            made += 1;
        }
        made
    }

    #[test]
    fn a_used_environment_gets_one_spare_and_another_once_that_is_taken() {
        let (mut spares, now) = (Strings::new(8), Instant::now());
        assert_eq!(spares.take(now, environment("a"), 1), Taken::Nothing(1));
        assert_eq!(spares.wanted(now, true), Some(environment("a")));
        assert_eq!(spares.wanted(now, true), None, "one is being made");
        assert_eq!(spares.made(&key("a"), Some("x".into())), None);
        assert_eq!(spares.wanted(now, true), None);
        let later = now + BURST * 2;
        assert_eq!(spares.take(later, environment("a"), 2), ready(2, "x"));
        assert_eq!(spares.wanted(later, true), Some(environment("a")));
    }

    #[test]
    fn a_container_waits_for_the_spare_that_is_being_made_and_a_second_one_does_not() {
        let (mut spares, now) = (Strings::new(8), Instant::now());
        spares.prepare(environment("a"));
        assert_eq!(spares.wanted(now, true), Some(environment("a")));
        assert_eq!(spares.take(now, environment("a"), 1), Taken::Soon);
        assert_eq!(spares.take(now, environment("a"), 2), Taken::Nothing(2));
        assert_eq!(spares.made(&key("a"), Some("x".into())), Some((1, Some("x".into()))));
        spares.give_back(&key("a"), "x".into());
        assert_eq!(spares.take(now, environment("a"), 3), ready(3, "x"));
    }

    #[test]
    fn who_waits_is_told_that_the_spare_could_not_be_made() {
        let (mut spares, now) = (Strings::new(8), Instant::now());
        spares.prepare(environment("a"));
        spares.wanted(now, true);
        assert_eq!(spares.take(now, environment("a"), 1), Taken::Soon);
        assert_eq!(spares.made(&key("a"), None), Some((1, None)));
    }

    #[test]
    fn after_a_burst_there_are_spares_for_another_like_it_until_it_is_long_ago() {
        let (mut spares, now) = (Strings::new(8), Instant::now());
        for who in 0..4 {
            spares.take(now + Duration::from_secs(who.into()), environment("a"), who);
        }
        assert_eq!(fill(&mut spares, now + BURST), 4);
        let later = now + BURST * 3;
        assert!(matches!(spares.take(later, environment("a"), 9), Taken::Ready(9, _)));
        assert_eq!(fill(&mut spares, later), 1, "a single use does not forget the burst");
        assert_eq!(fill(&mut spares, now + REMEMBERED * 2), 0);
        let left = spares.pool(&key("a")).map(|pool| pool.ready.len());
        assert_eq!(left, Some(1), "what is not wished for any more is dropped");
    }

    #[test]
    fn while_calls_run_there_is_one_spare_and_no_more_are_made() {
        let (mut spares, now) = (Strings::new(8), Instant::now());
        for who in 0..4 {
            spares.take(now, environment("a"), who);
        }
        assert_eq!(spares.wanted(now, false), Some(environment("a")));
        spares.made(&key("a"), Some("x".into()));
        assert_eq!(spares.wanted(now, false), None);
        assert_eq!(spares.wanted(now, true), Some(environment("a")));
    }

    #[test]
    fn there_are_never_more_spares_than_the_machine_can_bear() {
        let (mut spares, now) = (Strings::new(3), Instant::now());
        for who in 0..20 {
            spares.take(now, environment("a"), who);
            spares.take(now, environment("b"), who);
        }
        assert_eq!(fill(&mut spares, now), 3);
        let stock =
            |spares: &mut Strings, hash| spares.pool(&key(hash)).map(|pool| pool.ready.len());
        assert!(stock(&mut spares, "a") >= Some(1) && stock(&mut spares, "b") >= Some(1));
        assert_eq!(most(1024), 2);
        assert_eq!(most(4 * 1024), 5);
        assert_eq!(most(1024 * 1024), MOST);
    }

    #[test]
    fn only_the_last_two_environments_keep_a_spare() {
        let (mut spares, now) = (Strings::new(8), Instant::now());
        for hash in ["a", "b", "c"] {
            spares.take(now, environment(hash), 0);
            fill(&mut spares, now);
        }
        assert_eq!(spares.take(now, environment("a"), 1), Taken::Nothing(1));
        assert_eq!(spares.take(now, environment("c"), 1), ready(1, "c0"));
    }

    #[test]
    fn a_spare_of_another_shape_is_no_use() {
        let (mut spares, now) = (Strings::new(8), Instant::now());
        let gpu = Kind { shape: Shape { gpu: true, ..Shape::default() }, ..environment("a") };
        spares.take(now, gpu.clone(), 0);
        fill(&mut spares, now);
        assert_eq!(spares.take(now, environment("a"), 1), Taken::Nothing(1));
        assert_eq!(spares.take(now, gpu, 2), ready(2, "a0"));
    }

    #[test]
    fn an_environment_whose_spare_failed_waits_for_its_next_use() {
        let (mut spares, now) = (Strings::new(8), Instant::now());
        spares.prepare(environment("a"));
        spares.wanted(now, true);
        spares.made(&key("a"), None);
        assert_eq!(spares.wanted(now, true), None);
        spares.take(now, environment("a"), 0);
        assert_eq!(spares.wanted(now, true), Some(environment("a")));
    }

    #[test]
    fn a_spare_that_comes_too_late_is_dropped() {
        let (mut spares, now) = (Strings::new(8), Instant::now());
        spares.prepare(environment("a"));
        spares.wanted(now, true);
        spares.clear();
        assert_eq!(spares.made(&key("a"), Some("x".into())), None);
        assert_eq!(spares.take(now, environment("a"), 0), Taken::Nothing(0));
    }
}
