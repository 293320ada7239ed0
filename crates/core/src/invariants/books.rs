//! Counts and indexes agree with what they count.

use std::collections::BTreeMap;

use super::{Violation, ensure};
use crate::core::Core;
use crate::state::ContainerState;

pub(super) fn check(core: &Core) -> Result<(), Violation> {
    groups(core)?;
    rooms(core)?;
    stubs(core)?;
    held(core)
}

fn groups(core: &Core) -> Result<(), Violation> {
    for (key, group) in &core.groups {
        ensure(!group.tasks.is_empty(), "no queue is empty", key)?;
        for (order, id) in &group.tasks {
            let queued = core.tasks.get(id).and_then(|task| task.queued());
            let here = queued.is_some_and(|queued| queued.order == *order);
            ensure(here, "a queue's task is queued", id)?;
        }
        let untold = group.untold.iter().all(|order| group.tasks.contains_key(order));
        ensure(untold, "a task to be told is queued", key)?;
        let promised = group.reservations.len() <= group.tasks.len();
        ensure(promised, "no more room is reserved than there are tasks", key)?;
        for on in &group.reservations {
            let there = core
                .workers
                .get(on)
                .map_or(0, |worker| worker.reservations.iter().filter(|r| r.group == *key).count());
            let known = group.reservations.iter().filter(|other| *other == on).count();
            ensure(there == known, "a queue knows its reservations", key)?;
        }
    }
    let promised: usize = core.workers.values().map(|worker| worker.reservations.len()).sum();
    let known: usize = core.groups.values().map(|group| group.reservations.len()).sum();
    ensure(promised == known, "a reservation is for a queue", promised)
}

fn rooms(core: &Core) -> Result<(), Violation> {
    for id in core.workers.keys() {
        ensure(core.has_room(*id) == core.roomy.contains(id), "roomy workers are listed", id)?;
    }
    let known = core.roomy.iter().all(|id| core.workers.contains_key(id));
    ensure(known, "listed workers are there", ())?;
    let known = core.exhausted.iter().all(|key| core.groups.contains_key(key));
    ensure(known, "an exhausted queue is there", ())?;
    ensure(core.changes.is_empty(), "all changes were looked at", &core.changes)
}

fn stubs(core: &Core) -> Result<(), Violation> {
    let mut waiting = BTreeMap::new();
    for (key, group) in &core.groups {
        *waiting.entry(key.stub).or_insert(0) += group.tasks.len();
    }
    let (mut idle, mut calls) = (0, 0);
    for (id, container) in &core.containers {
        let usable = core.workers.get(&container.worker).is_some_and(|w| w.takes_work());
        let Some(stub) = core.stubs.get(&container.stub) else { continue };
        match container.state {
            _ if !usable => {}
            ContainerState::Idle => {
                idle += 1;
                let listed = stub.idle.contains(&(container.rank, container.since, *id));
                ensure(listed, "a stub knows its idle containers", id)?;
            }
            ContainerState::Stopping => {}
            ContainerState::Starting(_) | ContainerState::Busy(_) => {
                calls += 1;
                let listed = stub.calls.contains(&(container.call_began, *id));
                ensure(listed, "a stub knows its calls", id)?;
            }
        }
    }
    for (id, stub) in &core.stubs {
        let counted = waiting.get(id).copied().unwrap_or(0);
        ensure(stub.waiting == counted, "a stub's waiting tasks are counted", id)?;
        let groups = core.groups.keys().filter(|key| key.stub == *id).count();
        let known = stub.groups.iter().all(|key| core.groups.contains_key(key));
        ensure(known && groups == stub.groups.len(), "a stub knows its queues", id)?;
    }
    let listed: usize = core.stubs.values().map(|stub| stub.idle.len()).sum();
    ensure(listed == idle, "a stub lists idle containers only", listed)?;
    let listed: usize = core.stubs.values().map(|stub| stub.calls.len()).sum();
    ensure(listed == calls, "a stub lists calls only", listed)
}

fn held(core: &Core) -> Result<(), Violation> {
    let mut held = BTreeMap::new();
    for container in core.containers.values().filter(|c| c.state.attempt().is_some()) {
        if let Some(workspace) = container.workspace {
            *held.entry(workspace).or_insert(0) += 1;
        }
    }
    ensure(held == core.held, "workspaces' containers are counted", &core.held)
}
