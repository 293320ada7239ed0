//! What must become due is armed, and what is armed is about something that is there.

use metal9_types::Moment;

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
            Deadline::Retry(id) => {
                let task = core.tasks.get(&id);
                task.is_some_and(|task| matches!(task.state, TaskState::Resting(_)))
            }
            Deadline::Drain(id) => {
                core.workers.get(&id).is_some_and(|worker| worker.drain_until.is_some())
            }
            Deadline::KeepWarm(id) => core.containers.contains_key(&id),
            Deadline::Scale(id) => core.stubs.contains_key(&id),
            Deadline::Tell(key) => core.groups.contains_key(&key),
        };
        ensure(there, "a deadline is about something", deadline)?;
    }
    for (id, worker) in &core.workers {
        let watched = is_never(worker.next_check(&core.config)) || armed(Deadline::Worker(*id));
        ensure(watched, "a worker is watched", id)?;
        let cordoned = core.cordoned.contains(id) == worker.cordoned;
        ensure(cordoned, "a cordoned worker is known to be", id)?;
    }
    for (id, container) in &core.containers {
        let keep = core.stubs.get(&container.stub).map(|stub| stub.spec.keep_warm);
        let forever = keep.is_some_and(|keep| is_never(container.since.after(keep)));
        let busy = container.state != ContainerState::Idle;
        let ends = busy || forever || armed(Deadline::KeepWarm(*id));
        ensure(ends, "an idle container ends some time", id)?;
    }
    for (id, task) in &core.tasks {
        let ends = match task.state {
            TaskState::Recovering => armed(Deadline::Recovery),
            TaskState::Resting(until) => is_never(until) || armed(Deadline::Retry(*id)),
            TaskState::Queued(_) if task.begun => true,
            TaskState::Queued(_) => is_never(task.begin_by) || armed(Deadline::Ttl(*id)),
            TaskState::Assigned(assigned) => {
                let limit = assigned.started.zip(task.spec.timeout);
                limit.is_none_or(|(started, limit)| is_never(started.after(limit)))
                    || armed(Deadline::Timeout(assigned.attempt))
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

/// `true` for the far end of the clock, for which nothing is armed.
fn is_never(moment: Moment) -> bool {
    moment == Moment(u64::MAX)
}
