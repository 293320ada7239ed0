//! Whose idle container goes when another stub needs the room: the one used least lately.

use std::time::Duration;

use metal9_types::{ContainerId, StubId};
use proptest::prelude::*;

use super::env::{TestEnv, stub, stub_spec, task, task_spec};
use crate::{Config, Input, StubSpec};

const HOUR: Duration = Duration::from_secs(3600);

/// A cache as anybody would write it: what is kept, that used least lately first.
struct Model {
    room: usize,
    kept: Vec<(StubId, ContainerId)>,
}

impl Model {
    /// The container that a call of the stub reuses, which is used now.
    fn reuse(&mut self, stub: StubId) -> Option<ContainerId> {
        let place = self.kept.iter().position(|(of, _)| *of == stub)?;
        let used = self.kept.remove(place);
        self.kept.push(used);
        Some(used.1)
    }

    /// The container that has to go before another one fits.
    fn evict(&mut self) -> Option<ContainerId> {
        (self.kept.len() == self.room).then(|| self.kept.remove(0).1)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_was_used_least_lately_makes_room(
        room in 1_usize..6,
        calls in prop::collection::vec((1_u64..9, 1_u64..50), 1..60),
    ) {
        let config = Config { suspect_after: HOUR, lost_after: HOUR, ..Config::default() };
        let mut env = TestEnv::with(config);
        for number in 1..9 {
            env.define(StubSpec { keep_warm: HOUR, ..stub_spec(number) });
        }
        env.hello(1, 1, room as u64);
        let mut model = Model { room, kept: Vec::new() };
        for (number, (of, pause)) in (1..).zip(calls) {
            env.millis(pause);
            env.ok(Input::Submit(task_spec(number, of)));
            let warm = model.reuse(stub(of));
            if warm.is_none() && let Some(victim) = model.evict() {
                prop_assert_eq!(env.stopped_container(), victim);
                env.nothing();
                env.gone(victim);
            }
            let given = env.given();
            prop_assert_eq!(given.task, task(number));
            match warm {
                Some(container) => prop_assert_eq!((given.container, given.fresh), (container, false)),
                None => {
                    prop_assert!(given.fresh);
                    model.kept.push((stub(of), given.container));
                }
            }
            env.nothing();
            env.millis(pause);
            env.finish(given);
            env.nothing();
        }
    }
}
