//! Workers that an operator took out of service.

use std::time::Duration;

use metal9_core::{Input, Transition};
use metal9_types::FailureKind;

use super::{World, index_of};

impl World {
    /// Nothing new for a worker; `within` is how long its calls may go on. It is on disk before the
    /// scheduler hears of it. While the gateway is away nobody can ask for it.
    pub(super) fn cordon(&mut self, worker: usize, within: Option<Duration>) {
        if !self.gateway.up {
            return;
        }
        let until = within.map(|within| self.now.after(within));
        self.gateway.standing.insert(worker, until);
        let id = self.workers[worker].id;
        self.feed(Input::Cordon { worker: id, on: true }, None);
        if let Some(within) = within {
            self.feed(Input::Drain { worker: id, within }, None);
        }
    }

    /// A worker may get work again.
    pub(super) fn uncordon(&mut self, worker: usize) {
        if self.gateway.standing.remove(&worker).is_some() && self.gateway.up {
            let id = self.workers[worker].id;
            self.feed(Input::Cordon { worker: id, on: false }, None);
        }
    }

    /// The gateway reads back who gets nothing new.
    pub(super) fn recall_standing(&mut self) {
        let workers: Vec<usize> = self.gateway.standing.keys().copied().collect();
        for worker in workers {
            let id = self.workers[worker].id;
            self.feed(Input::Cordon { worker: id, on: true }, None);
        }
    }

    /// A worker that was being emptied has connected, and still is.
    pub(super) fn go_on_draining(&mut self, worker: usize) {
        if let Some(&Some(until)) = self.gateway.standing.get(&worker) {
            let within = until.since(self.now);
            let id = self.workers[worker].id;
            self.feed(Input::Drain { worker: id, within }, None);
        }
    }

    /// A worker is about to get something new: it must not be one of those.
    pub(super) fn is_in_service(&mut self, worker: usize) {
        if self.gateway.standing.contains_key(&worker) {
            let name = self.workers[worker].name.clone();
            self.fail("a cordoned worker gets nothing new", name);
        }
    }

    /// An attempt that ends because its worker is emptied does not count.
    pub(super) fn spare_if_drained(&mut self, transition: &Transition) {
        let lost = transition.failure.as_ref().map(|failure| failure.kind);
        let worker = transition.worker.map(|worker| index_of(worker.0));
        let drained = worker.is_some_and(|worker| {
            self.gateway.standing.get(&worker).is_some_and(|until| until.is_some())
        });
        if drained && lost == Some(FailureKind::WorkerLost) {
            self.ledger.tasks[index_of(transition.task.0)].spared += 1;
        }
    }
}
