//! Who waits learns why.
//!
//! The reason is found once per group, not per task, and only when the group is new or the set of
//! workers has changed. It is told to so many tasks at a time that a long queue delays nothing.

use std::time::Duration;

use metal9_types::Moment;

use super::Round;
use crate::Action;
use crate::core::Core;
use crate::explain;
use crate::state::{Deadline, GroupKey, Reason};

/// A task that waits only because everything is busy is told so after this long.
const BUSY_AFTER: Duration = Duration::from_secs(10);
/// Tasks told at a time, and how soon the next ones are.
const AT_A_TIME: usize = 256;
const PAUSE: Duration = Duration::from_millis(10);

impl Core {
    /// Tells tasks that have just begun to wait.
    pub(super) fn tell_new(&mut self, now: Moment, round: &Round, actions: &mut Vec<Action>) {
        let keys = round.groups.iter().copied().filter(|key| {
            self.groups.get(key).is_some_and(|group| {
                let asleep = self.deadlines.get(Deadline::Tell(*key)).is_none();
                group.reason.is_none() || !group.untold.is_empty() && asleep
            })
        });
        for key in keys.collect::<Vec<_>>() {
            self.find_reason(key);
            self.tell_group(now, key, actions);
        }
    }

    /// Finds all reasons anew.
    pub(crate) fn find_reasons(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let mut keys: Vec<GroupKey> = self.groups.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            let before = self.groups.get_mut(&key).and_then(|group| group.reason.take());
            self.find_reason(key);
            let Some(group) = self.groups.get_mut(&key) else { continue };
            if group.reason != before {
                group.untold = group.tasks.keys().copied().collect();
                self.tell_group(now, key, actions);
            }
        }
    }

    fn find_reason(&mut self, key: GroupKey) {
        let missing = self.groups.get(&key).is_some_and(|group| group.reason.is_none());
        if !missing {
            return;
        }
        let Some(shape) = self.stubs.get(&key.stub).map(|stub| stub.shape) else { return };
        let outlook = self.look_out(shape);
        let reason = outlook.reason.clone();
        self.shapes[shape].outlook = Some(outlook);
        if let Some(group) = self.groups.get_mut(&key) {
            group.reason = Some(reason);
        }
    }

    /// Tells the first tasks of a group that do not know yet.
    pub(crate) fn tell_group(&mut self, now: Moment, key: GroupKey, actions: &mut Vec<Action>) {
        self.deadlines.disarm(Deadline::Tell(key));
        let busy = self.is_due_to_be_told(now, key).then(|| {
            let stub = self.stubs.get(&key.stub)?;
            Some(explain::Crowd::look(self, stub, key, now))
        });
        let busy = busy.flatten();
        for _ in 0..AT_A_TIME {
            let Some(group) = self.groups.get_mut(&key) else { return };
            let Some(&order) = group.untold.first() else { return };
            let task = group.tasks.get(&order).and_then(|one| self.tasks.get_mut(&one.task));
            let Some((task, queued)) = task.and_then(|task| task.queued().map(|q| (task, q)))
            else {
                group.untold.remove(&order);
                continue;
            };
            let sentence = match &group.reason {
                Some(Reason::Unplaceable(sentence)) => sentence.clone(),
                _ if now < queued.since.after(BUSY_AFTER) => {
                    self.deadlines.arm(Deadline::Tell(key), queued.since.after(BUSY_AFTER));
                    return;
                }
                _ => {
                    let Some(found) = &busy else { break };
                    found.sentence(group.ahead(queued))
                }
            };
            group.untold.remove(&order);
            task.told = true;
            actions.push(Action::Waiting { task: task.id(), sentence });
        }
        self.deadlines.arm(Deadline::Tell(key), now.after(PAUSE));
    }

    /// `true` if the first task of a queue that does not know why it waits has waited for long
    /// enough to be told that everything is busy.
    fn is_due_to_be_told(&self, now: Moment, key: GroupKey) -> bool {
        let Some(group) = self.groups.get(&key) else { return false };
        if matches!(group.reason, Some(Reason::Unplaceable(_))) {
            return false;
        }
        let first = group.untold.first().and_then(|order| group.tasks.get(order));
        let queued = first.and_then(|one| self.tasks.get(&one.task)?.queued());
        queued.is_some_and(|queued| now >= queued.since.after(BUSY_AFTER))
    }
}
