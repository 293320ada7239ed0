//! Workers that are to get nothing new, and workers that are to become empty.

use std::time::Duration;

use metal9_types::{Failure, FailureKind, Moment, WorkerId};

use crate::core::Core;
use crate::state::Deadline;
use crate::{Action, Ignored};

impl Core {
    pub(crate) fn on_cordon(&mut self, now: Moment, id: WorkerId, on: bool) {
        let changed = if on { self.cordoned.insert(id) } else { self.cordoned.remove(&id) };
        let Some(worker) = self.workers.get(&id) else { return };
        let drains = worker.drain_until.is_some() && !worker.leaving;
        if !changed && (!drains || on) {
            return;
        }
        if drains && !on {
            self.deadlines.disarm(Deadline::Drain(id));
        }
        self.change_worker(now, id, |worker| {
            worker.cordoned = on;
            if drains && !on {
                worker.drain_until = None;
            }
        });
    }

    pub(crate) fn on_drain(
        &mut self,
        now: Moment,
        id: WorkerId,
        within: Duration,
        actions: &mut Vec<Action>,
    ) -> Result<(), Ignored> {
        if !self.workers.contains_key(&id) {
            return Err(Ignored::UnknownWorker);
        }
        self.cordoned.insert(id);
        let until = now.after(within);
        self.change_worker(now, id, |worker| {
            worker.cordoned = true;
            worker.drain_until = Some(until);
        });
        self.deadlines.arm(Deadline::Drain(id), until);
        self.stop_idle(now, id, actions);
        Ok(())
    }

    /// Ends everything on a worker that runs no call.
    pub(crate) fn stop_idle(&mut self, now: Moment, id: WorkerId, actions: &mut Vec<Action>) {
        let Some(worker) = self.workers.get(&id) else { return };
        let idle: Vec<_> = worker.idle.iter().map(|(_, container)| *container).collect();
        for container in idle {
            self.stop_container(now, container, actions);
        }
    }

    /// What still runs on a worker has had its time.
    pub(crate) fn on_drain_over(&mut self, now: Moment, id: WorkerId, actions: &mut Vec<Action>) {
        let Some(worker) = self.workers.get(&id) else { return };
        let text = format!("worker `{}` was drained; the call is made elsewhere", {
            &worker.offer.hostname
        });
        let running: Vec<_> = worker
            .containers
            .iter()
            .filter_map(|id| self.containers.get(id))
            .filter_map(|container| container.state.attempt())
            .collect();
        for attempt in running {
            let Some(assigned) = self.assigned(attempt) else { continue };
            let Some(&task) = self.attempts.get(&attempt) else { continue };
            self.stop_attempt(now, assigned, FailureKind::WorkerLost, actions);
            let failure = Failure::new(FailureKind::WorkerLost, text.clone());
            self.take_back(now, task, failure, actions);
        }
    }
}
