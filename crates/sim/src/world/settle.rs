//! All faults end: does everything else, too?

use std::time::Duration;

use metal9_core::ContainerPhase;

use super::event::Fault;
use super::{World, index_of};

impl World {
    /// Mends everything and lets time pass until nothing is left to do.
    pub(super) fn settle(&mut self) {
        let began = self.now;
        for worker in 0..self.workers.len() {
            self.heal(worker);
            self.uncordon(worker);
            self.workers[worker].count_fault(Fault::Off);
            self.turn_on(worker);
            self.workers[worker].cut = false;
        }
        while self.failure.is_none() && !self.is_quiet() {
            let passed = self.now.since(began);
            if passed > self.options.patience {
                let left = self.left();
                let hull = |it: &super::Worker| it.containers.is_empty();
                let rule = if self.ledger.tasks.iter().any(|facts| facts.told.is_none()) {
                    "every task comes to an end"
                } else if self.gateway.core.counts().containers > 0
                    || !self.workers.iter().all(hull)
                {
                    "every container comes to an end"
                } else {
                    "every worker is heard in the end"
                };
                self.fail(rule, left);
                break;
            }
            let until = self.now.since(metal9_types::Moment::ZERO) + Duration::from_secs(1);
            self.run_until(until);
            // One that was leaving has left, and one whose trouble was still to come is in it.
            for worker in 0..self.workers.len() {
                self.turn_on(worker);
            }
        }
        self.behind += self.now.since(began);
    }

    fn is_quiet(&self) -> bool {
        let counts = self.gateway.core.counts();
        let core = counts.queued + counts.recovering + counts.assigned + counts.containers;
        let told = self.ledger.tasks.iter().all(|facts| facts.told.is_some());
        let idle = |worker: &super::Worker| {
            worker.containers.is_empty() && worker.attempts.is_empty() && worker.welcomed
        };
        self.gateway.up
            && core == 0
            && self.gateway.writes.is_empty()
            && self.ledger.open.is_empty()
            && told
            && self.workers.iter().all(idle)
            && counts.connected == self.workers.len()
    }

    /// What is left, for people.
    fn left(&self) -> String {
        let counts = self.gateway.core.counts();
        let mut left = vec![format!("{counts:?}")];
        for &task in self.ledger.open.iter().take(3) {
            let name = &self.ledger.tasks[task].name;
            let now = self.gateway.clock(self.now);
            let id = metal9_types::TaskId(super::id_of(super::TASKS, task));
            let why = self.gateway.core.explain(now, id).map(|why| why.sentence);
            left.push(format!("{name}: {}", why.as_deref().unwrap_or("the scheduler forgot it")));
        }
        for it in self
            .workers
            .iter()
            .filter(|it| !it.containers.is_empty() || !it.attempts.is_empty() || !it.welcomed)
        {
            left.push(format!(
                "{}: {} containers, {} attempts, welcomed: {}",
                it.name,
                it.containers.len(),
                it.attempts.len(),
                it.welcomed
            ));
        }
        let known: Vec<bool> = self.workers.iter().map(|it| self.is_known(it)).collect();
        for (it, _) in self.workers.iter().zip(known).filter(|(_, known)| !known) {
            left.push(format!("{}: the scheduler does not know it", it.name));
        }
        left.truncate(8);
        left.join("; ")
    }

    fn is_known(&self, worker: &super::Worker) -> bool {
        self.gateway.core.workers().iter().any(|view| view.worker == worker.id)
    }

    /// Says why a task is where it is.
    pub(super) fn explain(&mut self, name: &str) {
        let Some(&task) = self.task_names.get(name) else { return };
        let now = self.gateway.clock(self.now);
        let id = metal9_types::TaskId(super::id_of(super::TASKS, task));
        match self.gateway.core.explain(now, id) {
            Some(why) => {
                self.say(|_| format!("{name}: {}", why.sentence));
                for line in why.detail {
                    self.say(|_| format!("  {line}"));
                }
            }
            None => {
                let end = self.ledger.tasks[task].told;
                let end = end.map_or("is not there", |(_, status)| status.as_str());
                self.say(|_| format!("{name}: {end}"));
            }
        }
    }

    /// Says how everything is.
    pub(super) fn show(&mut self) {
        for view in self.gateway.core.workers() {
            let state = match (view.session, view.suspect, view.leaving) {
                (None, ..) => "disconnected",
                (_, true, _) => "silent",
                (_, _, true) => "leaving",
                _ => "connected",
            };
            let (cpu, mem) = (view.free.cpu_millicores, view.free.memory_mib);
            let mut line =
                format!("{} {state}, free: {cpu} millicores, {mem} MiB", view.offer.hostname);
            for container in &view.containers {
                let phase = match container.phase {
                    ContainerPhase::Starting => "starting",
                    ContainerPhase::Busy => "busy",
                    ContainerPhase::Idle => "idle",
                    ContainerPhase::Stopping => "stopping",
                };
                let task = container.task.map(|task| index_of(task.0));
                let task = task.map(|task| format!(" {}", self.ledger.tasks[task].name));
                let stub = &self.stubs[index_of(container.stub.0)].line.name;
                line = format!("{line}; {stub} {phase}{}", task.unwrap_or_default());
            }
            self.say(|_| line);
        }
        let counts = self.gateway.core.counts();
        let open = self.ledger.open.len();
        self.say(|_| {
            format!(
                "{open} tasks have not ended: {} queued, {} recovering, {} assigned",
                counts.queued, counts.recovering, counts.assigned
            )
        });
    }
}
