//! One round of scheduling: waiting tasks meet containers and room.
//!
//! A round runs after every input that may have made room or work. In order:
//!
//! 1. `claims`: queues that have been kept waiting too long are promised room that others are
//!    about to reuse,
//! 2. `reuse`: idle containers take the next task of their stub,
//! 3. `grow`: workspaces take turns (`fair`) to start containers where there is room, or to have
//!    idle ones of other stubs ended to make room (`room`),
//! 4. `tell`: who still waits learns why.
//!
//! A round looks only at queues that are not empty, and for shapes that found no room before, only
//! at workers on which room has appeared since.

mod claims;
mod fair;
mod grow;
mod reuse;
mod room;
mod tell;

use std::collections::BTreeSet;

use metal9_types::{Moment, WorkerId};

use crate::Action;
use crate::core::Core;
use crate::state::GroupKey;

/// What one round looks at.
#[derive(Default)]
struct Round {
    /// Workers on which room may have appeared.
    rooms: BTreeSet<WorkerId>,
    /// Queues to look at even if none has.
    groups: BTreeSet<GroupKey>,
    /// Shapes with blocked queues that may find room on those workers, in order.
    fitting: Vec<usize>,
    /// Queues that room is being made for on those workers.
    promised: BTreeSet<GroupKey>,
}

impl Round {
    fn fits(&self, shape: usize) -> bool {
        self.fitting.binary_search(&shape).is_ok()
    }
}

impl Core {
    pub(crate) fn schedule(&mut self, now: Moment, actions: &mut Vec<Action>) {
        // A round may free what others were promised; each change costs a task or a container, so
        // this comes to an end.
        while !self.changes.is_empty() {
            let mut round = self.next_round();
            if self.groups.is_empty() {
                continue;
            }
            self.claim_room(now, &round, actions);
            self.reuse_idle(now, &round, actions);
            self.start_containers(now, &mut round, actions);
            self.tell_new(now, &round, actions);
        }
    }

    fn next_round(&mut self) -> Round {
        let changes = std::mem::take(&mut self.changes);
        let mut groups = changes.groups;
        for stub in changes.stubs.iter().filter_map(|stub| self.stubs.get(stub)) {
            groups.extend(&stub.groups);
        }
        Round { rooms: changes.rooms, groups, ..Round::default() }
    }
}
