//! Tasks, attempts, containers and workers agree on who is where.

use metal9_types::Resources;

use super::{Violation, ensure};
use crate::core::Core;
use crate::state::{ContainerState, Holder, TaskState};

pub(super) fn check(core: &Core) -> Result<(), Violation> {
    tasks(core)?;
    containers(core)?;
    workers(core)
}

fn tasks(core: &Core) -> Result<(), Violation> {
    let mut assigned_count = 0;
    for (id, task) in &core.tasks {
        match task.state {
            TaskState::Recovering => {
                ensure(core.recovering.contains(id), "a recovering task is listed", id)?;
            }
            TaskState::Resting(_) => {
                let queued = core.groups.get(&task.group());
                let queued = queued.is_some_and(|g| g.tasks.values().any(|one| one.task == *id));
                ensure(!queued, "a resting task is in no queue", id)?;
            }
            TaskState::Queued(queued) => {
                let group = core.groups.get(&task.group());
                let there = group.and_then(|group| group.tasks.get(&queued.order));
                ensure(
                    there.map(|waiting| waiting.task) == Some(*id),
                    "a queued task is in its queue",
                    id,
                )?;
            }
            TaskState::Assigned(assigned) => {
                assigned_count += 1;
                let of = core.attempts.get(&assigned.attempt);
                ensure(of == Some(id), "an attempt leads to its task", assigned.attempt)?;
                let container = core.containers.get(&assigned.container);
                let hosts = container.is_some_and(|container| {
                    container.worker == assigned.worker
                        && container.stub == task.stub()
                        && container.workspace == Some(task.spec.workspace)
                        && container.state.attempt() == Some(assigned.attempt)
                });
                ensure(hosts, "an attempt is in its container", assigned.attempt)?;
                ensure(task.attempts_used > 0, "an assigned task has used an attempt", id)?;
                ensure(task.begun, "an assigned task was begun", id)?;
            }
        }
    }
    ensure(assigned_count == core.attempts.len(), "every attempt has a task", assigned_count)?;
    let recovering = core.tasks.values().filter(|task| task.state == TaskState::Recovering);
    ensure(recovering.count() == core.recovering.len(), "listed tasks are recovering", ())
}

fn containers(core: &Core) -> Result<(), Violation> {
    for (id, container) in &core.containers {
        ensure(core.stubs.contains_key(&container.stub), "a container's stub is known", id)?;
        let worker = core.workers.get(&container.worker);
        let there = worker.is_some_and(|worker| worker.containers.contains(id));
        ensure(there, "a container is on its worker", id)?;
        if let Some(attempt) = container.state.attempt() {
            let task = core.attempts.get(&attempt).and_then(|task| core.tasks.get(task));
            let here = task.and_then(|task| task.assigned()).map(|assigned| assigned.container);
            ensure(here == Some(*id), "a container's attempt is in it", id)?;
        }
        if container.state == ContainerState::Idle {
            let keep = core.stubs.get(&container.stub).map(|stub| stub.spec.keep_warm);
            ensure(keep.is_some_and(|keep| !keep.is_zero()), "an idle container is wanted", id)?;
        }
    }
    let on_workers: usize = core.workers.values().map(|worker| worker.containers.len()).sum();
    ensure(on_workers == core.containers.len(), "a container is on one worker", on_workers)
}

fn workers(core: &Core) -> Result<(), Violation> {
    for (id, worker) in &core.workers {
        let (mut used, mut returning) = (Resources::default(), Resources::default());
        let mut starting = 0;
        let mut idle = 0;
        for container in worker.containers.iter().filter_map(|id| core.containers.get(id)) {
            ensure(container.worker == *id, "a container is on one worker", container.id)?;
            used = used.saturating_add(container.resources);
            match container.state {
                ContainerState::Starting(_) => starting += 1,
                ContainerState::Busy(_) => {}
                ContainerState::Idle => {
                    idle += 1;
                    let listed = worker.idle.contains(&(container.since, container.id));
                    ensure(listed, "an idle container is listed", container.id)?;
                }
                ContainerState::Stopping => {
                    returning = returning.saturating_add(container.resources);
                }
            }
            for &device in &container.devices {
                let memory_mib = container.resources.memory_mib;
                let holder = Holder { container: container.id, memory_mib };
                let holders = worker.holders.get(device).into_iter().flatten();
                let held = holders.filter(|other| **other == holder).count();
                ensure(held == 1, "a container holds its devices", container.id)?;
            }
        }
        ensure(used == worker.used, "a worker's used resources balance", id)?;
        ensure(returning == worker.returning, "a worker's returning resources balance", id)?;
        ensure(starting == worker.starting, "a worker's starting containers are counted", id)?;
        ensure(idle == worker.idle.len(), "listed containers are idle", id)?;
        let fits = worker.shrunk || worker.offer.capacity.fits(used);
        ensure(fits, "a worker is not over-committed", id)?;
        ensure(worker.holders.len() == worker.offer.devices.len(), "devices have holders", id)?;
        for (device, holders) in worker.offer.devices.iter().zip(&worker.holders) {
            ensure(holders.len() <= device.seats(), "a device has no more jobs than it takes", id)?;
            let asked = holders.iter().map(|holder| holder.memory_mib).fold(0, u64::saturating_add);
            ensure(device.has_memory(asked), "a device's memory is not over-committed", id)?;
            for holder in holders {
                let there = worker.containers.contains(&holder.container);
                ensure(there, "a device's holder is on the worker", holder.container)?;
            }
        }
        let promised = worker.takes_work() || worker.reservations.is_empty();
        ensure(promised, "only a worker that takes work has reservations", id)?;
        let spared = !worker.gpus_rest || worker.reservations.iter().all(|r| r.devices.is_empty());
        ensure(spared, "nothing is reserved of devices that rest", id)?;
        let rest = (worker.strain(false).is_some(), worker.strain(true).is_some());
        ensure(rest == (worker.rests, worker.gpus_rest), "a worker knows whether it rests", id)?;
    }
    Ok(())
}
