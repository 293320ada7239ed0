//! A look at everything once a second: what should not be running any more?

use std::time::Duration;

use metal9_types::{AttemptId, Moment};

use super::event::Event;
use super::{World, index_of};

const EVERY: Duration = Duration::from_secs(1);

/// How long an attempt that nobody wants may still be seen running on a worker that the scheduler
/// talks to: messages that cross, and a cancelled call's last words.
const FENCE: Duration = Duration::from_secs(10);

impl World {
    pub(super) fn on_sweep(&mut self) {
        self.queue.push(self.now.after(EVERY), Event::Sweep);
        self.prune_sessions();
        if self.gateway.up {
            self.find_zombies();
        }
    }

    fn prune_sessions(&mut self) {
        let now = self.now;
        let workers = &mut self.workers;
        self.sessions.retain(|session, known| {
            let keep = known.worker_open || known.gateway_open || !known.is_silent(now);
            if !keep {
                workers[known.worker].sessions.retain(|other| other != session);
            }
            keep
        });
    }

    /// An attempt that the scheduler does not want may run on only while its worker cannot be told.
    fn find_zombies(&mut self) {
        let current: Vec<bool> = self.current_workers();
        let mut stuck: Option<(AttemptId, usize)> = None;
        let (now, core) = (self.now, &self.gateway.core);
        let zombies = &mut self.ledger.zombies;
        for execution in self.ledger.running.values().flatten() {
            let unwanted = core.attempt_task(execution.attempt).is_none();
            if unwanted && !execution.stopped && current[execution.worker] {
                let since = *zombies.entry(execution.attempt).or_insert(now);
                if now.since(since) > FENCE {
                    stuck.get_or_insert((execution.attempt, execution.worker));
                }
            } else {
                zombies.remove(&execution.attempt);
            }
        }
        if let Some((attempt, worker)) = stuck {
            let (task, number) = self.ledger.given[&attempt];
            let (task, worker) = (&self.ledger.tasks[task].name, &self.workers[worker].name);
            let text = format!("{task}#{number} on {worker}");
            self.fail("an attempt that nobody wants is stopped", text);
        }
    }

    /// The workers that the scheduler talks to, and that hear it.
    fn current_workers(&self) -> Vec<bool> {
        let mut current = vec![false; self.workers.len()];
        for view in self.gateway.core.workers() {
            let index = index_of(view.worker.0);
            let it = &self.workers[index];
            current[index] = it.welcomed && it.is_reachable() && view.session == it.session;
        }
        current
    }
}

impl super::link::Session {
    /// `true` if nothing of it is on its way.
    fn is_silent(&self, now: Moment) -> bool {
        self.clear_at() <= now && !self.waits()
    }
}
