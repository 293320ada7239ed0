//! A stub becomes known; a task is handed in.

use metal9_types::Moment;

use crate::core::Core;
use crate::state::{Deadline, Stub, Task, TaskState};
use crate::{Ignored, StubSpec, TaskSpec};

impl Core {
    /// Stubs never change, so the first definition stays.
    pub(crate) fn on_define_stub(&mut self, spec: StubSpec) {
        if self.stubs.contains_key(&spec.stub) {
            return;
        }
        let ask = spec.resources;
        if !self.room_in_full && (ask.cpu_millicores == 0 || ask.memory_mib == 0) {
            self.room_in_full = true;
            let workers: Vec<_> = self.workers.keys().copied().collect();
            for worker in workers {
                self.note_room(worker);
            }
        }
        let shape = self.shape_of(&spec);
        self.stubs.insert(spec.stub, Stub::new(spec, shape));
    }

    pub(crate) fn on_submit(&mut self, now: Moment, spec: TaskSpec) -> Result<(), Ignored> {
        if self.tasks.contains_key(&spec.task) {
            return Err(Ignored::DuplicateTask);
        }
        if !self.stubs.contains_key(&spec.stub) {
            return Err(Ignored::UnknownStub);
        }
        let id = spec.task;
        let recovered = spec.recovered;
        let task = Task {
            attempts_used: spec.attempts_used,
            arrived: now,
            begun: spec.attempts_used > 0,
            crashes: 0,
            begin_by: now.after(spec.ttl.saturating_sub(spec.recovered.unwrap_or_default())),
            told: false,
            state: TaskState::Recovering,
            spec,
        };
        self.tasks.insert(id, task);
        let until = self.recovery_until.unwrap_or(now).max(now);
        if recovered.is_some() {
            self.recovering.insert(id);
            self.deadlines.arm_by(Deadline::Recovery, until);
        } else {
            self.enqueue(now, id, false);
        }
        Ok(())
    }
}
