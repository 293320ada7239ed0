//! A stub becomes known; a task is handed in.

use metal9_types::Moment;

use crate::core::Core;
use crate::state::{Deadline, Stub, Task, TaskState};
use crate::{Ignored, StubSpec, TaskSpec};

impl Core {
    /// Stubs never change, but for how many containers they have.
    pub(crate) fn on_define_stub(&mut self, spec: StubSpec) {
        if let Some(known) = self.stubs.get_mut(&spec.stub) {
            let counts = (spec.max_containers, spec.min_containers);
            if counts == (known.spec.max_containers, known.spec.min_containers) {
                return;
            }
            (known.spec.max_containers, known.spec.min_containers) = counts;
            if known.waiting > 0 {
                self.changes.stubs.insert(spec.stub);
            }
            // What had to stay may make room now.
            let idle: Vec<_> = known.idle.iter().map(|(.., container)| *container).collect();
            let hosts = idle.iter().filter_map(|id| self.containers.get(id));
            for worker in hosts.map(|container| container.worker).collect::<Vec<_>>() {
                self.mark_room(worker);
            }
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
