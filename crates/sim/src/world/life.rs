//! Machines and processes stop, stand still, and go on.

use std::time::Duration;

use super::World;
use super::event::{Event, Fault, Timer, ToGateway};

/// From a process's start to its first dial.
const BOOT: Duration = Duration::from_millis(50);

impl World {
    /// Ends a fault by itself after a while.
    pub(super) fn relieve_later(
        &mut self,
        worker: usize,
        fault: Fault,
        number: u32,
        lasts: Option<Duration>,
    ) {
        self.summary.faults += 1;
        if let Some(lasts) = lasts {
            self.queue.push(self.now.after(lasts), Event::Relief { worker, fault, number });
        }
    }

    pub(super) fn on_relief(&mut self, worker: usize, fault: Fault, number: u32) {
        if self.workers[worker].faults[fault as usize] == number {
            self.relieve(worker, fault);
        }
    }

    pub(super) fn relieve(&mut self, worker: usize, fault: Fault) {
        match fault {
            Fault::Cut => self.workers[worker].cut = false,
            Fault::Partition => self.end_partition(worker),
            Fault::Freeze => self.thaw(worker),
            Fault::Off => self.turn_on(worker),
        }
    }

    /// The worker's process ends; `is_heard` if its machine is still there to close its connection.
    pub(super) fn turn_off(&mut self, worker: usize, lasts: Option<Duration>, is_heard: bool) {
        if !self.workers[worker].on {
            return;
        }
        if self.workers[worker].frozen {
            self.thaw(worker);
        }
        let number = self.workers[worker].count_fault(Fault::Off);
        self.relieve_later(worker, Fault::Off, number, lasts);
        let it = &mut self.workers[worker];
        it.on = false;
        it.life += 1;
        it.leaving = None;
        it.containers.clear();
        it.control.clear();
        for (attempt, known) in std::mem::take(&mut it.attempts) {
            self.ledger.end_execution(known.task, attempt);
        }
        if is_heard {
            self.worker_closes(worker);
        } else {
            self.trouble_begins(worker);
            let it = &mut self.workers[worker];
            it.welcomed = false;
            if let Some(session) = it.session.take()
                && let Some(known) = self.sessions.get_mut(&session)
            {
                known.worker_open = false;
            }
        }
    }

    pub(super) fn turn_on(&mut self, worker: usize) {
        if self.workers[worker].on {
            return;
        }
        let it = &mut self.workers[worker];
        it.on = true;
        it.life += 1;
        it.backoff = super::link::FIRST_BACKOFF;
        // The machine answers pings of sessions that it does not know with a reset.
        for session in it.sessions.clone() {
            self.send_up(session, ToGateway::Close);
        }
        self.say(|names| format!("{} is started", names.worker(worker)));
        self.set_timer(worker, BOOT, Timer::Dial);
    }

    pub(super) fn freeze(&mut self, worker: usize, lasts: Option<Duration>) {
        if !self.workers[worker].on {
            return;
        }
        let number = self.workers[worker].count_fault(Fault::Freeze);
        self.relieve_later(worker, Fault::Freeze, number, lasts);
        self.workers[worker].frozen = true;
        self.trouble_begins(worker);
    }

    fn thaw(&mut self, worker: usize) {
        let it = &mut self.workers[worker];
        it.frozen = false;
        it.trouble += 1;
        for event in std::mem::take(&mut it.held) {
            self.queue.push(self.now, event);
        }
        if self.workers[worker].up_blocked || self.workers[worker].down_blocked {
            self.trouble_begins(worker);
        }
    }

    /// Everything of a worker works again.
    pub(super) fn heal(&mut self, worker: usize) {
        for fault in [Fault::Cut, Fault::Partition, Fault::Freeze] {
            self.workers[worker].count_fault(fault);
            self.relieve(worker, fault);
        }
    }
}
