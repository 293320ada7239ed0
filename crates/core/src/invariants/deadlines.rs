//! What must become due is armed, and what is armed is about something that is there.

use super::{Violation, ensure};
use crate::core::Core;
use crate::state::{ContainerState, Deadline, TaskState};

pub(super) fn check(core: &Core) -> Result<(), Violation> {
    ensure(core.deadlines.is_balanced(), "deadlines balance", ())?;
    let armed = |deadline| core.deadlines.get(deadline).is_some();
    for (_, deadline) in core.deadlines.iter() {
        let there = match deadline {
            Deadline::Recovery | Deadline::Reasons => true,
            Deadline::Worker(id) => core.workers.contains_key(&id),
            Deadline::Ttl(id) => core.tasks.get(&id).is_some_and(|task| task.queued().is_some()),
            Deadline::Timeout(id) => core.attempts.contains_key(&id),
            Deadline::KeepWarm(id) => core.containers.contains_key(&id),
            Deadline::Scale(id) => core.stubs.contains_key(&id),
            Deadline::Tell(key) => core.groups.contains_key(&key),
        };
        ensure(there, "a deadline is about something", deadline)?;
    }
    for id in core.workers.keys() {
        ensure(armed(Deadline::Worker(*id)), "a worker is watched", id)?;
    }
    for (id, container) in &core.containers {
        let expires = container.state != ContainerState::Idle || armed(Deadline::KeepWarm(*id));
        ensure(expires, "an idle container ends some time", id)?;
    }
    for (id, task) in &core.tasks {
        let ends = match task.state {
            TaskState::Recovering => armed(Deadline::Recovery),
            TaskState::Queued(_) => task.attempts_used > 0 || armed(Deadline::Ttl(*id)),
            TaskState::Assigned(assigned) => {
                let limited = assigned.started.is_some() && task.spec.timeout.is_some();
                !limited || armed(Deadline::Timeout(assigned.attempt))
            }
        };
        ensure(ends, "a task's limit is armed", id)?;
    }
    for (key, group) in &core.groups {
        let told = group.untold.is_empty() || armed(Deadline::Tell(*key));
        ensure(told, "a task to be told will be", key)?;
    }
    Ok(())
}
