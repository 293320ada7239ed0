//! Moving containers.

use metal9_types::{ContainerId, Moment, StubId, WorkerId};

use crate::Action;
use crate::core::Core;
use crate::place::Spot;
use crate::state::worker::saturating_sub;
use crate::state::{Container, ContainerState, Deadline, Holder};

impl Core {
    /// Puts a new container on a worker; it takes its room at once.
    pub(crate) fn add_container(
        &mut self,
        now: Moment,
        id: ContainerId,
        stub: StubId,
        worker: WorkerId,
        spot: Spot,
    ) {
        let Some(resources) = self.stubs.get(&stub).map(|stub| stub.spec.resources) else { return };
        let Some(host) = self.workers.get_mut(&worker) else { return };
        host.containers.insert(id);
        host.used = host.used.saturating_add(resources);
        for &device in &spot.devices {
            host.take_device(device, Holder { container: id, memory_mib: resources.memory_mib });
        }
        let container = Container {
            id,
            stub,
            worker,
            workspace: None,
            resources,
            devices: spot.devices,
            rank: spot.rank,
            state: ContainerState::Stopping,
            since: now,
            cut_short: false,
            call_began: now,
        };
        self.containers.insert(id, container);
        self.index_container(id);
    }

    /// Changes a container and whatever is counted of it.
    pub(crate) fn change_container(
        &mut self,
        id: ContainerId,
        change: impl FnOnce(&mut Container),
    ) {
        self.unindex_container(id);
        if let Some(container) = self.containers.get_mut(&id) {
            change(container);
        }
        self.index_container(id);
    }

    /// The container is gone: its room is free.
    pub(crate) fn remove_container(&mut self, id: ContainerId) {
        self.unindex_container(id);
        let Some(container) = self.containers.remove(&id) else { return };
        self.deadlines.disarm(Deadline::KeepWarm(id));
        if let Some(worker) = self.workers.get_mut(&container.worker) {
            worker.containers.remove(&id);
            worker.used = saturating_sub(worker.used, container.resources);
            worker.shrunk = worker.shrunk && !worker.offer.capacity.fits(worker.used);
            for holders in &mut worker.holders {
                holders.retain(|holder| holder.container != id);
            }
            self.mark_room(container.worker);
        }
    }

    /// After a call: the container waits for the next one, or ends.
    pub(crate) fn release_container(
        &mut self,
        now: Moment,
        id: ContainerId,
        reusable: bool,
        actions: &mut Vec<Action>,
    ) {
        let Some(container) = self.containers.get(&id) else { return };
        let keep_warm = self.stubs.get(&container.stub).map(|stub| stub.spec.keep_warm);
        let keep_warm = keep_warm.unwrap_or_default();
        let leaving = self.workers.get(&container.worker).is_none_or(|worker| worker.empties());
        if !reusable || keep_warm.is_zero() || leaving {
            self.stop_container(now, id, actions);
            return;
        }
        self.set_idle(now, id);
        self.mark_room_of(id);
    }

    pub(crate) fn set_idle(&mut self, now: Moment, id: ContainerId) {
        self.change_container(id, |container| {
            container.state = ContainerState::Idle;
            container.since = now;
        });
        let stub = self.containers.get(&id).and_then(|container| self.stubs.get(&container.stub));
        // Reuse leaves the deadline armed; when it comes too early it is moved.
        if let Some(stub) = stub
            && self.deadlines.get(Deadline::KeepWarm(id)).is_none()
        {
            self.deadlines.arm(Deadline::KeepWarm(id), now.after(stub.spec.keep_warm));
        }
    }

    /// Tells the worker to end a container without a call; it keeps its room until it is gone.
    pub(crate) fn stop_container(
        &mut self,
        now: Moment,
        id: ContainerId,
        actions: &mut Vec<Action>,
    ) {
        let Some(container) = self.containers.get(&id) else { return };
        if container.state == ContainerState::Stopping {
            return;
        }
        let worker = container.worker;
        // A worker without a session hears of it when it comes back and lists the container.
        if let Some(session) = self.workers.get(&worker).and_then(|worker| worker.session) {
            actions.push(Action::StopContainer { worker, session, container: id });
        }
        self.set_stopping(now, id);
    }

    pub(crate) fn set_stopping(&mut self, now: Moment, id: ContainerId) {
        self.deadlines.disarm(Deadline::KeepWarm(id));
        self.change_container(id, |container| {
            container.cut_short |= container.state.attempt().is_some();
            container.state = ContainerState::Stopping;
            container.since = now;
        });
        self.mark_room_of(id);
    }

    fn mark_room_of(&mut self, id: ContainerId) {
        if let Some(worker) = self.containers.get(&id).map(|container| container.worker) {
            self.mark_room(worker);
        }
    }

    /// A worker that has started a container has its image and code.
    pub(crate) fn learn_cached(&mut self, id: ContainerId) {
        let Some(container) = self.containers.get(&id) else { return };
        let Some(stub) = self.stubs.get(&container.stub) else { return };
        let Some(worker) = self.workers.get_mut(&container.worker) else { return };
        for name in [&stub.spec.image, &stub.spec.object] {
            if !worker.cached.contains(name) {
                worker.cached.insert(name.clone());
            }
        }
    }

    /// Counts a container in, where its state is counted.
    pub(crate) fn index_container(&mut self, id: ContainerId) {
        let Some(container) = self.containers.get(&id) else { return };
        let Some(worker) = self.workers.get_mut(&container.worker) else { return };
        let Some(stub) = self.stubs.get_mut(&container.stub) else { return };
        let usable = worker.takes_work();
        let serves = usable && (!worker.gpus_rest || stub.spec.gpu.is_none());
        match container.state {
            ContainerState::Starting(_) | ContainerState::Busy(_) => {
                let starting = matches!(container.state, ContainerState::Starting(_));
                worker.starting += u32::from(starting);
                stub.live += 1;
                if serves {
                    stub.calls.insert((container.call_began, id));
                }
                self.count_call(id, true);
            }
            ContainerState::Idle => {
                stub.live += 1;
                worker.idle.insert((container.since, id));
                if usable && let Some(class) = self.classes.get_mut(&worker.class) {
                    class.idle.insert((container.since, id));
                }
                if serves {
                    stub.idle.insert((container.rank, container.since, id));
                    if stub.waiting > 0 {
                        self.changes.stubs.insert(container.stub);
                    }
                }
            }
            ContainerState::Stopping => {
                worker.returning = worker.returning.saturating_add(container.resources);
            }
        }
    }

    /// Counts a container out again; the worker must be as it was when it was counted in.
    pub(crate) fn unindex_container(&mut self, id: ContainerId) {
        let Some(container) = self.containers.get(&id) else { return };
        let Some(worker) = self.workers.get_mut(&container.worker) else { return };
        let Some(stub) = self.stubs.get_mut(&container.stub) else { return };
        match container.state {
            ContainerState::Starting(_) | ContainerState::Busy(_) => {
                let starting = matches!(container.state, ContainerState::Starting(_));
                worker.starting -= u32::from(starting);
                stub.live = stub.live.saturating_sub(1);
                stub.calls.remove(&(container.call_began, id));
                if stub.waiting > 0 {
                    self.changes.stubs.insert(container.stub);
                }
                self.count_call(id, false);
            }
            ContainerState::Idle => {
                stub.live = stub.live.saturating_sub(1);
                if stub.waiting > 0 && stub.most().is_some() {
                    self.changes.stubs.insert(container.stub);
                }
                worker.idle.remove(&(container.since, id));
                if let Some(class) = self.classes.get_mut(&worker.class) {
                    class.idle.remove(&(container.since, id));
                }
                stub.idle.remove(&(container.rank, container.since, id));
            }
            ContainerState::Stopping => {
                worker.returning = saturating_sub(worker.returning, container.resources);
            }
        }
    }
}
