//! One round of scheduling: waiting tasks meet containers and room.
//!
//! A round runs after every input that may have made room or work. In order:
//!
//! 1. `claims`: queues that have been kept waiting too long are promised room that others are
//!    about to reuse,
//! 2. `reuse`: idle containers take the next task of their stub,
//! 3. `grow`: workspaces take turns to start containers where there is room, or to have idle ones
//!    of other stubs ended to make room,
//! 4. `tell`: who still waits learns why.
//!
//! A round looks only at queues that are not empty, and for those that found no room before, only
//! at workers on which room has appeared since.

mod claims;
mod grow;
mod reuse;
mod tell;

use metal9_types::Moment;

use crate::Action;
use crate::core::Core;

impl Core {
    pub(crate) fn schedule(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if !self.wake && self.fresh_room.is_empty() {
            return;
        }
        if !self.groups.is_empty() {
            self.claim_room(now, actions);
            self.reuse_idle(now, actions);
            self.start_containers(now, actions);
            self.tell_new(now, actions);
        }
        self.fresh_room.clear();
        self.wake = false;
    }
}
