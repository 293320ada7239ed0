//! Workers speak, fall silent, disconnect and leave.

use std::time::Duration;

use metal9_types::{Failure, FailureKind, Moment, SessionId, WorkerId};

use crate::core::Core;
use crate::state::{ContainerState, Deadline, Worker};
use crate::{Action, Ignored};

impl Core {
    pub(crate) fn on_alive(
        &mut self,
        now: Moment,
        id: WorkerId,
        session: SessionId,
    ) -> Result<(), Ignored> {
        let worker = self.current(id, session)?;
        worker.last_heard = now;
        if worker.suspect {
            self.change_worker(now, id, |worker| worker.suspect = false);
            self.watch(id);
        }
        Ok(())
    }

    /// The worker may come back; until then it is given nothing.
    pub(crate) fn on_disconnected(
        &mut self,
        now: Moment,
        id: WorkerId,
        session: SessionId,
        actions: &mut Vec<Action>,
    ) -> Result<(), Ignored> {
        self.current(id, session)?;
        self.change_worker(now, id, |worker| {
            worker.session = None;
            worker.last_heard = now;
        });
        self.watch(id);
        self.forget_if_left(id, actions);
        Ok(())
    }

    pub(crate) fn on_leaving(
        &mut self,
        now: Moment,
        id: WorkerId,
        within: Option<Duration>,
        actions: &mut Vec<Action>,
    ) -> Result<(), Ignored> {
        if !self.workers.contains_key(&id) {
            return Err(Ignored::UnknownWorker);
        }
        let until = within.map(|within| now.after(within));
        self.change_worker(now, id, |worker| {
            worker.leaving = true;
            worker.drain_until = until.or(worker.drain_until);
        });
        if let Some(until) = until {
            self.deadlines.arm(Deadline::Drain(id), until);
        }
        self.stop_idle(now, id, actions);
        self.forget_if_left(id, actions);
        Ok(())
    }

    /// Nothing of the worker counts any more: what it was given is lost at once.
    pub(crate) fn on_revoked(
        &mut self,
        now: Moment,
        id: WorkerId,
        actions: &mut Vec<Action>,
    ) -> Result<(), Ignored> {
        if !self.workers.contains_key(&id) {
            return Err(Ignored::UnknownWorker);
        }
        self.lose_worker(now, id, actions);
        Ok(())
    }

    /// Looks at whether a worker has been silent for too long.
    pub(crate) fn on_worker_check(&mut self, now: Moment, id: WorkerId, actions: &mut Vec<Action>) {
        let Some(worker) = self.workers.get(&id) else { return };
        if now >= worker.last_heard.after(self.config.lost_after) {
            self.lose_worker(now, id, actions);
            return;
        }
        let silent = now >= worker.last_heard.after(self.config.suspect_after);
        if worker.session.is_some() && !worker.suspect && silent {
            self.change_worker(now, id, |worker| worker.suspect = true);
        }
        self.watch(id);
    }

    fn lose_worker(&mut self, now: Moment, id: WorkerId, actions: &mut Vec<Action>) {
        let Some(worker) = self.workers.get(&id) else { return };
        let text = format!("worker `{}` was lost", worker.offer.hostname);
        let containers: Vec<_> = worker.containers.iter().copied().collect();
        actions.push(Action::WorkerLost { worker: id });
        for container in containers {
            self.lose_container(now, container, &text, actions);
        }
        self.forget_worker(now, id);
    }

    /// Removes a container whose worker does not have it; its attempt, if any, is lost.
    pub(crate) fn lose_container(
        &mut self,
        now: Moment,
        id: metal9_types::ContainerId,
        text: &str,
        actions: &mut Vec<Action>,
    ) {
        let state = self.containers.get(&id).map(|container| container.state);
        if let Some(attempt) = state.and_then(ContainerState::attempt)
            && let Some(&task) = self.attempts.get(&attempt)
        {
            self.fail_attempt(now, task, Failure::new(FailureKind::WorkerLost, text), actions);
        }
        self.remove_container(id);
    }

    /// A worker that wanted to leave is gone once it is empty.
    pub(crate) fn forget_if_left(&mut self, id: WorkerId, actions: &mut Vec<Action>) {
        let left = self.workers.get(&id).is_some_and(|w| w.leaving && w.containers.is_empty());
        if left {
            actions.push(Action::WorkerLeft { worker: id });
            self.forget_worker(self.now, id);
        }
    }

    fn forget_worker(&mut self, now: Moment, id: WorkerId) {
        self.drop_reservations(id);
        self.unlist(id);
        self.leave_class(id);
        self.workers.remove(&id);
        self.changes.rooms.remove(&id);
        self.deadlines.disarm(Deadline::Drain(id));
        self.deadlines.disarm(Deadline::Worker(id));
        self.fleet_changed(now);
    }

    /// Arms the next look at a worker.
    pub(crate) fn watch(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get(&id) {
            let at = worker.next_check(&self.config);
            self.deadlines.arm(Deadline::Worker(id), at);
        }
    }

    /// The worker, if this is its present session.
    pub(super) fn current(
        &mut self,
        id: WorkerId,
        session: SessionId,
    ) -> Result<&mut Worker, Ignored> {
        let worker = self.workers.get_mut(&id).ok_or(Ignored::UnknownWorker)?;
        if worker.session == Some(session) { Ok(worker) } else { Err(Ignored::StaleSession) }
    }
}
