use std::collections::HashMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const STUB: StubId = StubId(Uuid::from_u128(1));

fn serving(concurrency: u32, max_containers: u32) -> Serving {
    Serving {
        workers: 1,
        concurrency,
        max_pending: 5,
        authorized: true,
        max_containers,
        min_containers: 0,
        tasks_per_container: 1,
    }
}

fn task(number: u128) -> TaskId {
    TaskId(Uuid::from_u128(number))
}

fn worker(number: u128) -> WorkerId {
    WorkerId(Uuid::from_u128(number))
}

/// A book with a scheduler that does at once what it is told.
struct Rig {
    book: Book,
    now: Instant,
    serving: Serving,
    places: HashMap<TaskId, Place>,
    refused: HashMap<TaskId, Refusal>,
    asked: Vec<TaskId>,
    attempts: u64,
}

impl Rig {
    fn new(concurrency: u32, max_containers: u32) -> Self {
        Self {
            book: Book::default(),
            now: Instant::now(),
            serving: serving(concurrency, max_containers),
            places: HashMap::new(),
            refused: HashMap::new(),
            asked: Vec::new(),
            attempts: 0,
        }
    }

    fn arrive(&mut self, request: u128) -> Result<(), Refusal> {
        self.book.arrive(self.now, STUB, self.serving, task(request))?;
        self.follow();
        Ok(())
    }

    /// Does what the book wants; holds that are asked for wait for [`Rig::start`].
    fn follow(&mut self) -> Vec<Step> {
        let steps = self.book.take_steps();
        for step in &steps {
            match step {
                Step::Ask { hold, .. } => self.asked.push(*hold),
                Step::Withdraw(hold) => {
                    self.asked.retain(|asked| asked != hold);
                    let failure = Failure::new(FailureKind::Cancelled, "nobody waits");
                    self.book.ended(self.now, *hold, Some(failure));
                }
                Step::Release { hold, .. } => self.book.ended(self.now, *hold, None),
                Step::Give { request, place } => {
                    self.places.insert(*request, *place);
                }
                Step::Refuse { request, refusal } => {
                    self.refused.insert(*request, refusal.clone());
                }
            }
        }
        steps
    }

    /// Gives the oldest hold a container on a worker.
    fn start(&mut self, on: u128) -> TaskId {
        let hold = self.asked.remove(0);
        self.attempts += 1;
        let (attempt, container) = (AttemptId(self.attempts), ContainerId(self.attempts));
        self.book.assigned(hold, attempt, worker(on), container);
        self.book.started(self.now, hold, attempt);
        self.follow();
        hold
    }

    fn done(&mut self, request: u128) -> Vec<Step> {
        let place = self.places.remove(&task(request)).unwrap();
        self.book.done(self.now, &place);
        self.follow()
    }

    fn pass(&mut self, time: Duration) -> Vec<Step> {
        self.now += time;
        self.book.look(self.now);
        self.follow()
    }
}

#[test]
fn a_request_waits_for_a_container_and_the_next_finds_it() {
    let mut rig = Rig::new(1, 1);
    rig.arrive(1).unwrap();
    assert!(rig.places.is_empty() && rig.asked.len() == 1);
    rig.start(9);
    assert_eq!(rig.places.len(), 1);
    rig.done(1);
    rig.arrive(2).unwrap();
    assert!(rig.places.contains_key(&task(2)) && rig.asked.is_empty());
}

#[test]
fn no_more_than_it_takes_go_to_a_container_and_no_more_containers_than_may() {
    let mut rig = Rig::new(2, 2);
    for request in 1..=5 {
        rig.arrive(request).unwrap();
    }
    assert_eq!(rig.asked.len(), 2);
    rig.start(9);
    rig.start(9);
    assert_eq!(rig.places.len(), 4);
    rig.done(1);
    assert!(rig.places.contains_key(&task(5)));
}

#[test]
fn a_container_without_requests_is_released_a_moment_later() {
    let mut rig = Rig::new(1, 1);
    rig.arrive(1).unwrap();
    let hold = rig.start(9);
    assert!(rig.done(1).is_empty());
    assert!(rig.pass(LINGER / 2).is_empty());
    let steps = rig.pass(LINGER);
    assert!(matches!(&steps[..], [Step::Release { hold: it, .. }] if *it == hold), "{steps:?}");
    assert_eq!(rig.book.counts(), (0, 0));
    assert!(rig.book.stubs.is_empty());
    assert_eq!(rig.book.take_gone(), [STUB], "nobody needs what is known of it any more");
    assert!(rig.book.take_gone().is_empty());
}

#[test]
fn more_than_may_wait_are_refused() {
    let mut rig = Rig::new(1, 1);
    for request in 1..=5 {
        rig.arrive(request).unwrap();
    }
    assert_eq!(rig.arrive(6), Err(Refusal::Full(5)));
}

#[test]
fn when_nobody_waits_any_more_no_container_is_started() {
    let mut rig = Rig::new(1, 1);
    rig.arrive(1).unwrap();
    rig.book.left(rig.now, STUB, task(1));
    assert!(matches!(rig.follow()[..], [Step::Withdraw(_)]));
    assert!(rig.book.stubs.is_empty() && rig.book.holds.is_empty());
}

#[test]
fn who_waited_for_a_container_that_fails_is_told_and_the_next_ones_pause() {
    let mut rig = Rig::new(1, 1);
    let failure = Failure::new(FailureKind::Exception, "ImportError: x");
    for request in 1..=2 {
        rig.arrive(request).unwrap();
        let hold = rig.asked.remove(0);
        rig.book.ended(rig.now, hold, Some(failure.clone()));
        rig.follow();
        assert_eq!(rig.refused.get(&task(request)), Some(&Refusal::Failed(failure.clone())));
    }
    assert!(matches!(rig.arrive(3), Err(Refusal::Pausing(..))));
    rig.pass(Duration::from_secs(2));
    rig.arrive(4).unwrap();
    assert_eq!(rig.asked.len(), 1);
}

#[test]
fn a_worker_that_leaves_gets_nothing_new_and_finishes_what_it_has() {
    let mut rig = Rig::new(1, 2);
    rig.arrive(1).unwrap();
    rig.start(9);
    rig.book.set_away(rig.now, worker(9), true);
    rig.follow();
    rig.arrive(2).unwrap();
    assert!(!rig.places.contains_key(&task(2)) && rig.asked.len() == 1);
    assert!(matches!(rig.done(1)[..], [Step::Release { .. }]));
    rig.start(8);
    assert_eq!(rig.places[&task(2)].worker, worker(8));
}

#[test]
fn a_hold_that_is_taken_back_gets_another_container_and_its_old_one_counts_no_more() {
    let mut rig = Rig::new(1, 1);
    rig.arrive(1).unwrap();
    let hold = rig.start(9);
    let old = rig.places[&task(1)];
    rig.book.requeued(rig.now, hold);
    rig.asked.push(hold);
    rig.arrive(2).unwrap();
    rig.start(8);
    assert_eq!(rig.places[&task(2)].worker, worker(8));
    rig.book.done(rig.now, &old);
    assert_eq!(rig.book.counts(), (0, 1));
}

#[test]
fn a_floor_is_kept_without_requests() {
    let mut rig = Rig::new(1, 3);
    rig.book.set_floor(rig.now, STUB, rig.serving, 2);
    rig.follow();
    assert_eq!(rig.asked.len(), 2);
    rig.start(9);
    rig.start(9);
    assert!(rig.pass(LINGER * 3).is_empty());
    rig.book.set_floor(rig.now, STUB, rig.serving, 0);
    rig.follow();
    assert_eq!(rig.pass(LINGER * 3).len(), 2);
}

#[test]
fn a_container_that_cannot_be_reached_rests_for_a_moment() {
    let mut rig = Rig::new(1, 1);
    rig.arrive(1).unwrap();
    rig.start(9);
    let place = rig.places.remove(&task(1)).unwrap();
    rig.book.unreached(rig.now, &place);
    rig.follow();
    rig.arrive(2).unwrap();
    assert!(!rig.places.contains_key(&task(2)));
    rig.pass(UNREACHED);
    assert!(rig.places.contains_key(&task(2)));
}

#[test]
fn one_that_no_other_can_stand_in_for_is_waited_for() {
    let mut rig = Rig::new(1, 3);
    rig.book.keep_one(rig.now, STUB, rig.serving);
    rig.follow();
    let only = rig.start(9);
    rig.arrive(1).unwrap();
    let place = rig.places.remove(&task(1)).unwrap();
    rig.book.unreached(rig.now, &place);
    rig.follow();
    rig.arrive(2).unwrap();
    rig.arrive(3).unwrap();
    assert!(rig.asked.is_empty() && rig.places.is_empty());
    rig.pass(UNREACHED);
    assert_eq!(rig.places[&task(2)].hold, only);
    // Only its end makes room for another.
    rig.book.ended(rig.now, only, None);
    rig.follow();
    assert_eq!(rig.asked.len(), 1);
}

#[test]
fn what_a_request_waits_for_is_known() {
    let mut rig = Rig::new(1, 1);
    rig.arrive(1).unwrap();
    rig.arrive(2).unwrap();
    let wait = |rig: &Rig, request| rig.book.wait(rig.now, STUB, task(request));
    let first = wait(&rig, 1).unwrap();
    assert_eq!((first.ahead, first.serving, first.starting.len()), (0, 0, 0));
    assert_eq!(first.asked, rig.asked);
    rig.start(9);
    assert_eq!(wait(&rig, 1), None, "it runs");
    rig.arrive(3).unwrap();
    let third = wait(&rig, 3).unwrap();
    assert_eq!((third.ahead, third.serving, third.asked.len()), (1, 1, 0));
    rig.done(1);
    assert_eq!(wait(&rig, 3).unwrap().ahead, 0);
}

proptest! {
    /// Whatever happens, no container has more than it takes, there are no more containers than
    /// may be, and when all is over nothing is left.
    #[test]
    fn the_books_balance(
        steps in prop::collection::vec((0u8..7, 0u128..6), 1..120),
        concurrency in 1u32..4,
        most in 1u32..4,
    ) {
        let mut rig = Rig::new(concurrency, most);
        let mut next = 100;
        for (what, which) in steps {
            match what {
                0 | 1 => {
                    next += 1;
                    let _ = rig.arrive(next);
                }
                2 if !rig.asked.is_empty() => { rig.start(which % 2); }
                3 => {
                    let running = rig.places.keys().next().map(|request| request.0.as_u128());
                    if let Some(request) = running { rig.done(request); }
                }
                4 => { rig.pass(Duration::from_millis(400)); }
                5 => {
                    rig.book.set_away(rig.now, worker(which % 2), which > 2);
                    rig.follow();
                }
                6 => {
                    let hold = rig.places.values().next().map(|place| place.hold);
                    if let Some(hold) = hold {
                        let lost = Failure::new(FailureKind::WorkerLost, "lost");
                        rig.book.ended(rig.now, hold, Some(lost));
                        rig.places.retain(|_, place| place.hold != hold);
                        rig.follow();
                    }
                }
                _ => {}
            }
            let mut loads: HashMap<ContainerId, u32> = HashMap::new();
            for place in rig.places.values() {
                *loads.entry(place.container).or_default() += 1;
            }
            prop_assert!(loads.values().all(|load| *load <= concurrency), "{loads:?}");
            prop_assert_eq!(rig.book.counts().1, rig.places.len());
        }
        for on in 0..2 {
            rig.book.set_away(rig.now, worker(on), false);
            rig.follow();
        }
        // Whoever waits gets its turn.
        for _ in 0..400 {
            rig.pass(Duration::from_millis(400));
            if !rig.asked.is_empty() { rig.start(0); }
            let running = rig.places.keys().next().map(|request| request.0.as_u128());
            if let Some(request) = running { rig.done(request); }
        }
        prop_assert_eq!(rig.book.counts(), (0, 0));
        rig.pass(Duration::from_secs(60));
        prop_assert!(rig.book.stubs.is_empty(), "{:?}", rig.book);
        prop_assert!(rig.book.holds.is_empty());
    }
}

#[test]
fn what_is_closed_refuses_who_waits_and_keeps_no_container() {
    let mut rig = Rig::new(1, 1);
    rig.book.set_floor(rig.now, STUB, rig.serving, 1);
    rig.follow();
    assert_eq!(rig.book.first(STUB), None);
    let hold = rig.start(1);
    let (place, ready) = rig.book.first(STUB).unwrap();
    assert_eq!((place.hold, ready, rig.book.stub_of(hold)), (hold, true, Some(STUB)));
    rig.arrive(1).unwrap();
    rig.arrive(2).unwrap();
    assert_eq!(rig.book.requests(STUB), 2);
    rig.book.close(rig.now, STUB);
    rig.follow();
    assert_eq!(rig.refused.get(&task(2)), Some(&Refusal::Unserved));
    rig.book.ended(rig.now, hold, None);
    rig.follow();
    assert!(rig.asked.is_empty(), "another container would not be the same");
}

#[test]
fn a_stub_that_is_to_have_fewer_containers_empties_the_newest() {
    let mut rig = Rig::new(1, 3);
    for request in 1..=3 {
        rig.arrive(request).unwrap();
        rig.start(1);
    }
    let oldest = rig.places[&task(1)].hold;
    let newest = rig.places[&task(3)].hold;
    rig.serving = serving(1, 1);
    rig.book.set_serving(rig.now, STUB, rig.serving);
    rig.arrive(4).unwrap();
    rig.done(3);
    assert!(!rig.places.contains_key(&task(4)), "a container that is to go got a request");
    rig.done(1);
    assert_eq!(rig.places[&task(4)].hold, oldest);
    let steps = rig.pass(LINGER);
    let released = |step: &Step| matches!(step, Step::Release { hold, .. } if *hold == newest);
    assert!(steps.iter().any(released), "{steps:?}");
    // And more again.
    rig.serving = serving(1, 3);
    rig.book.set_serving(rig.now, STUB, rig.serving);
    rig.arrive(5).unwrap();
    assert_eq!(rig.asked.len(), 1);
}
