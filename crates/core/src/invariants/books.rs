//! Counts and indexes agree with what they count.

use std::collections::{BTreeMap, BTreeSet};

use super::{Violation, ensure};
use crate::core::Core;
use crate::place;
use crate::state::{Class, ClassKey, ContainerState, Waiting};

pub(super) fn check(core: &Core) -> Result<(), Violation> {
    groups(core)?;
    rooms(core)?;
    stubs(core)?;
    shapes(core)?;
    shares(core)
}

/// Queues that wait for room are where new room is offered.
fn shapes(core: &Core) -> Result<(), Violation> {
    let mut blocked = 0;
    for (number, shape) in core.shapes.iter().enumerate() {
        blocked += shape.blocked.len();
        for key in &shape.blocked {
            let group = core.groups.get(key);
            ensure(group.is_some_and(|g| g.shape == number), "a blocked queue is there", key)?;
            let place = core.place(*key);
            let share = core.shares.get(&key.workspace);
            let listed = place.zip(share).is_some_and(|(place, s)| s.blocked.contains(&place));
            ensure(listed, "a workspace knows its blocked queues", key)?;
            let waits = group.is_some_and(|group| group.blocked_since.is_some());
            ensure(waits, "a blocked queue waits since some time", key)?;
        }
        ensure(!shape.full || !shape.blocked.is_empty(), "room is looked out for", number)?;
        for (class_number, class) in &core.classes {
            let worker = class.workers.first().and_then(|id| core.workers.get(id));
            let can = worker.is_some_and(|w| place::rank(&shape.spec, &w.offer).is_some());
            let listed = shape.classes.contains(class_number);
            ensure(listed == can, "a shape knows the classes it can run on", number)?;
            let asks = class.asking.contains(&shape.asking(number));
            let should = can && !shape.blocked.is_empty();
            ensure(asks == should, "a class knows who asks", number)?;
        }
    }
    let listed: usize = core.shares.values().map(|share| share.blocked.len()).sum();
    ensure(listed == blocked, "a workspace lists blocked queues only", listed)?;
    let waiting = core.groups.iter().filter_map(|(key, group)| Some((group.blocked_since?, *key)));
    let waiting: BTreeSet<_> = waiting.collect();
    ensure(waiting == core.kept_waiting, "queues kept waiting are listed", ())?;
    ensure(waiting.len() == blocked, "queues kept waiting are blocked", blocked)?;
    let known = core.capped.iter().all(|key| core.groups.contains_key(key));
    ensure(known, "a capped queue is there", ())
}

fn groups(core: &Core) -> Result<(), Violation> {
    for (key, group) in &core.groups {
        ensure(!group.tasks.is_empty(), "no queue is empty", key)?;
        for (order, Waiting { task: id, .. }) in &group.tasks {
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
    let (mut free, mut with_device, mut returning) = (0, 0, 0);
    for (id, worker) in &core.workers {
        let class = core.classes.get(&worker.class);
        let Some(class) = class else { return ensure(false, "a worker has a class", id) };
        ensure(class.key == ClassKey::of(&worker.offer), "a worker is in its class", id)?;
        ensure(class.workers.contains(id), "a class knows its workers", id)?;
        let room = core.has_room(*id).then(|| worker.free().cpu_millicores);
        ensure(worker.listed == room, "workers with room are listed", id)?;
        let Some(room) = room else { continue };
        free += 1;
        ensure(class.free.contains(&(room, *id)), "workers with room are listed", id)?;
        let device = worker.has_open_device();
        with_device += usize::from(device);
        let listed = class.free_devices.contains(&(room, *id)) == device;
        ensure(listed, "workers with a free device are listed", id)?;
    }
    for (id, worker) in &core.workers {
        returning += usize::from(worker.takes_work() && worker.has_returning());
        let listed = core.classes.get(&worker.class).is_some_and(|c| c.returning.contains(id));
        let is = worker.takes_work() && worker.has_returning();
        ensure(listed == is, "workers with ending containers are listed", id)?;
    }
    let sum = |count: fn(&Class) -> usize| core.classes.values().map(count).sum::<usize>();
    ensure(sum(|c| c.free.len()) == free, "listed workers have room", free)?;
    ensure(sum(|c| c.free_devices.len()) == with_device, "listed workers have a device", ())?;
    ensure(sum(|c| c.returning.len()) == returning, "listed workers have ending containers", ())?;
    ensure(sum(|c| c.workers.len()) == core.workers.len(), "a worker is in one class", ())?;
    let takes_work = |id| core.workers.get(id).is_some_and(|worker| worker.takes_work());
    let containers = core.containers.values().filter(|c| c.state == ContainerState::Idle);
    let idle = containers.filter(|container| takes_work(&container.worker)).count();
    ensure(sum(|c| c.idle.len()) == idle, "classes know idle containers", idle)?;
    ensure(core.classes.values().all(|c| !c.workers.is_empty()), "no class is empty", ())?;
    ensure(core.changes.is_empty(), "all changes were looked at", &core.changes)
}

fn stubs(core: &Core) -> Result<(), Violation> {
    let mut waiting = BTreeMap::new();
    for (key, group) in &core.groups {
        *waiting.entry(key.stub).or_insert(0) += group.tasks.len();
    }
    let (mut idle, mut calls) = (0, 0);
    let mut live = BTreeMap::new();
    for (id, container) in &core.containers {
        let worker = core.workers.get(&container.worker);
        let usable = worker.is_some_and(|worker| worker.takes_work());
        let Some(stub) = core.stubs.get(&container.stub) else { continue };
        let serves =
            usable && (stub.spec.gpu.is_none() || worker.is_some_and(|worker| !worker.gpus_rest));
        if container.state != ContainerState::Stopping {
            *live.entry(container.stub).or_insert(0) += 1;
        }
        match container.state {
            _ if !usable => {}
            ContainerState::Idle => {
                idle += usize::from(serves);
                let listed = stub.idle.contains(&(container.rank, container.since, *id));
                ensure(listed == serves, "a stub knows its idle containers", id)?;
                let class = core.workers.get(&container.worker).map(|worker| worker.class);
                let class = class.and_then(|class| core.classes.get(&class));
                let listed = class.is_some_and(|c| c.idle.contains(&(container.since, *id)));
                ensure(listed, "a class knows its idle containers", id)?;
            }
            ContainerState::Stopping => {}
            ContainerState::Starting(_) | ContainerState::Busy(_) => {
                calls += usize::from(serves);
                let listed = stub.calls.contains(&(container.call_began, *id));
                ensure(listed == serves, "a stub knows its calls", id)?;
            }
        }
    }
    for (id, stub) in &core.stubs {
        let counted = waiting.get(id).copied().unwrap_or(0);
        ensure(stub.waiting == counted, "a stub's waiting tasks are counted", id)?;
        let counted = live.get(id).copied().unwrap_or(0);
        ensure(stub.live == counted, "a stub's containers are counted", id)?;
        let groups = core.groups.keys().filter(|key| key.stub == *id).count();
        let known = stub.groups.iter().all(|key| core.groups.contains_key(key));
        ensure(known && groups == stub.groups.len(), "a stub knows its queues", id)?;
    }
    let listed: usize = core.stubs.values().map(|stub| stub.idle.len()).sum();
    ensure(listed == idle, "a stub lists idle containers only", listed)?;
    let listed: usize = core.stubs.values().map(|stub| stub.calls.len()).sum();
    ensure(listed == calls, "a stub lists calls only", listed)
}

fn shares(core: &Core) -> Result<(), Violation> {
    let mut shares: BTreeMap<_, (usize, u64, u64, u64, usize)> = BTreeMap::new();
    for container in core.containers.values().filter(|c| c.state.attempt().is_some()) {
        let Some(workspace) = container.workspace else { continue };
        let Some(stub) = core.stubs.get(&container.stub) else { continue };
        let share = shares.entry(workspace).or_default();
        share.0 += 1;
        share.1 += core.shapes[stub.shape].cost;
        share.2 += stub.spec.resources.cpu_millicores;
        share.3 += if stub.spec.gpu.is_none() { 0 } else { u64::from(stub.spec.gpu.count) };
    }
    for key in core.groups.keys() {
        shares.entry(key.workspace).or_default().4 += 1;
    }
    let counted = |share: &crate::state::Share| {
        (share.calls, share.held, share.cpu_millicores, share.gpus, share.queues)
    };
    let known: BTreeMap<_, _> = core.shares.iter().map(|(id, s)| (*id, counted(s))).collect();
    ensure(shares == known, "what workspaces have is counted", &known)
}
