//! Moving tasks.

use std::time::Duration;

use metal9_types::{AttemptId, ContainerId, Failure, FailureKind, Moment, TaskId, TaskStatus};

use crate::core::Core;
use crate::state::{Assigned, ContainerState, Deadline, Group, TaskState, Waiting};
use crate::{Action, Transition};

impl Core {
    /// The live attempt of this id.
    pub(crate) fn assigned(&self, attempt: AttemptId) -> Option<Assigned> {
        let task = self.tasks.get(self.attempts.get(&attempt)?)?;
        task.assigned().filter(|assigned| assigned.attempt == attempt)
    }

    pub(crate) fn set_assigned(&mut self, assigned: Assigned) {
        let task = self.attempts.get(&assigned.attempt).copied();
        if let Some(task) = task.and_then(|task| self.tasks.get_mut(&task)) {
            task.state = TaskState::Assigned(assigned);
        }
    }

    /// Puts a task that is nowhere into the queue of its group.
    pub(crate) fn enqueue(&mut self, now: Moment, id: TaskId, at_front: bool) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let key = task.group();
        let waiting = Waiting { task: id, arrived: task.arrived };
        let shape = self.stubs.get(&key.stub).map_or(0, |stub| stub.shape);
        let mut is_new = false;
        let group = self.groups.entry(key).or_insert_with(|| {
            is_new = true;
            Group::of(shape)
        });
        let queued = if at_front {
            self.next_front -= 1;
            group.push_front(self.next_front, waiting, now)
        } else {
            self.next_order += 1;
            group.push_back(self.next_order, waiting, now)
        };
        task.state = TaskState::Queued(queued);
        task.told = false;
        if !task.begun {
            self.deadlines.arm(Deadline::Ttl(id), task.begin_by);
        }
        if is_new {
            self.count_queue(key.workspace, true);
        } else if at_front {
            self.relist_blocked(key);
        }
        if let Some(stub) = self.stubs.get_mut(&key.stub) {
            stub.waiting += 1;
            stub.groups.insert(key);
        }
        self.changes.groups.insert(key);
    }

    /// Takes a task away from where it is: its queue, or its attempt. A container it ran in is
    /// left for the caller to deal with.
    fn detach(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(&id) else { return };
        let key = task.group();
        match task.state {
            TaskState::Recovering => {
                self.recovering.remove(&id);
            }
            TaskState::Queued(queued) => {
                self.deadlines.disarm(Deadline::Ttl(id));
                if let Some(stub) = self.stubs.get_mut(&key.stub) {
                    stub.waiting = stub.waiting.saturating_sub(1);
                }
                if let Some(group) = self.groups.get_mut(&key) {
                    group.remove(queued.order);
                    self.relist_blocked(key);
                    self.trim_group(key);
                }
            }
            TaskState::Resting(_) => self.deadlines.disarm(Deadline::Retry(id)),
            TaskState::Assigned(assigned) => {
                self.attempts.remove(&assigned.attempt);
                self.deadlines.disarm(Deadline::Timeout(assigned.attempt));
            }
        }
    }

    /// Forgets a queue that is empty, and reservations for more tasks than are left.
    fn trim_group(&mut self, key: crate::state::GroupKey) {
        let Some(group) = self.groups.get(&key) else { return };
        let (left, reserved) = (group.tasks.len(), group.reservations.len());
        for _ in left..reserved {
            self.drop_one_reservation(key);
        }
        if left == 0 {
            self.set_kept_waiting(key, |_| None);
            if let Some(shape) = self.groups.get(&key).map(|group| group.shape) {
                self.unblock(key, shape);
            }
            self.groups.remove(&key);
            self.capped.remove(&key);
            self.count_queue(key.workspace, false);
            if let Some(stub) = self.stubs.get_mut(&key.stub) {
                stub.groups.remove(&key);
            }
            self.deadlines.disarm(Deadline::Tell(key));
        }
    }

    /// Gives a waiting task to a container that has no call.
    pub(crate) fn assign(
        &mut self,
        now: Moment,
        id: TaskId,
        container: ContainerId,
        fresh: bool,
        actions: &mut Vec<Action>,
    ) {
        let Some(host) = self.containers.get(&container) else { return };
        let worker = host.worker;
        let Some(session) = self.workers.get(&worker).and_then(|worker| worker.session) else {
            return;
        };
        let attempt = self.ids.attempt();
        let started = None;
        let assigned = Assigned { attempt, worker, container, since: now, started, adopted: false };
        let told = self.tasks.get(&id).is_some_and(|task| task.told);
        let key = self.tasks.get(&id).map(crate::state::Task::group);
        match key.and_then(|key| self.groups.get_mut(&key)) {
            Some(group) if group.paid > 0 => group.paid -= 1,
            _ => key.into_iter().for_each(|key| self.charge(key)),
        }
        self.attach(now, id, assigned, fresh);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.begun = true;
        task.attempts_used = task.attempts_used.saturating_add(1);
        if told {
            actions.push(Action::Waiting { task: id, sentence: String::new() });
        }
        let host = self.containers.get(&container).filter(|_| fresh);
        let devices = host.map(|host| host.devices.clone()).unwrap_or_default();
        actions.push(Action::Assign {
            worker,
            session,
            attempt,
            attempt_number: task.attempts_used,
            task: id,
            stub: task.stub(),
            container,
            fresh,
            devices,
        });
        self.say_running(id, actions);
    }

    /// Makes an attempt the live one of a task, in a container that is known.
    pub(crate) fn attach(&mut self, now: Moment, id: TaskId, assigned: Assigned, fresh: bool) {
        self.detach(id);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.state = TaskState::Assigned(assigned);
        task.told = false;
        let (workspace, stub) = (task.spec.workspace, task.stub());
        self.attempts.insert(assigned.attempt, id);
        let start_time = self.stubs.get(&stub).map(|stub| stub.start_time).unwrap_or_default();
        self.change_container(assigned.container, |container| {
            container.workspace = Some(workspace);
            container.since = now;
            (container.state, container.call_began) = if fresh {
                (ContainerState::Starting(assigned.attempt), now.after(start_time))
            } else {
                (ContainerState::Busy(assigned.attempt), now)
            };
        });
    }

    pub(crate) fn say_running(&self, id: TaskId, actions: &mut Vec<Action>) {
        actions.push(Action::Transition(self.transition(id, TaskStatus::Running, None)));
    }

    fn transition(&self, id: TaskId, status: TaskStatus, failure: Option<Failure>) -> Transition {
        let task = self.tasks.get(&id);
        let assigned = task.and_then(crate::state::Task::assigned);
        Transition {
            task: id,
            status,
            attempt: assigned.map(|assigned| assigned.attempt),
            attempts_used: task.map_or(0, |task| task.attempts_used),
            worker: assigned.map(|assigned| assigned.worker),
            container: assigned.map(|assigned| assigned.container),
            failure,
        }
    }

    /// Ends a task and forgets it. A container it ran in is left for the caller to deal with.
    pub(crate) fn end_task(
        &mut self,
        id: TaskId,
        status: TaskStatus,
        failure: Option<Failure>,
        actions: &mut Vec<Action>,
    ) {
        actions.push(Action::Transition(self.transition(id, status, failure)));
        self.detach(id);
        self.tasks.remove(&id);
    }

    /// An attempt failed: the task gets another one, at the front of its queue, or ends.
    pub(crate) fn fail_attempt(
        &mut self,
        now: Moment,
        id: TaskId,
        failure: Failure,
        actions: &mut Vec<Action>,
    ) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if !failure.kind.is_retryable() || !task.has_attempts_left() {
            self.end_task(id, failure.kind.terminal_status(), Some(failure), actions);
            return;
        }
        // A lost worker says nothing of the task; a crash may well repeat itself.
        if failure.kind != FailureKind::WorkerLost {
            task.crashes = task.crashes.saturating_add(1);
        }
        let pause = match failure.kind {
            FailureKind::WorkerLost => Duration::ZERO,
            _ => self.config.pause_after(task.crashes),
        };
        let transition = self.transition(id, TaskStatus::Retry, Some(failure));
        actions.push(Action::Transition(transition));
        self.detach(id);
        if pause.is_zero() {
            self.enqueue(now, id, true);
        } else if let Some(task) = self.tasks.get_mut(&id) {
            let until = now.after(pause);
            task.state = TaskState::Resting(until);
            self.deadlines.arm(Deadline::Retry(id), until);
        }
    }

    /// A task that rested is tried again.
    pub(crate) fn on_rested(&mut self, now: Moment, id: TaskId) {
        let resting =
            self.tasks.get(&id).is_some_and(|task| matches!(task.state, TaskState::Resting(_)));
        if resting {
            self.enqueue(now, id, true);
        }
    }

    /// An attempt is taken back through no fault of the task: it begins again elsewhere, and the
    /// attempt does not count.
    pub(crate) fn take_back(
        &mut self,
        now: Moment,
        id: TaskId,
        failure: Failure,
        actions: &mut Vec<Action>,
    ) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.attempts_used = task.attempts_used.saturating_sub(1);
        let transition = self.transition(id, TaskStatus::Retry, Some(failure));
        actions.push(Action::Transition(transition));
        self.detach(id);
        self.enqueue(now, id, true);
    }

    /// Tells the worker to end an attempt; its container ends with it, and keeps its room until
    /// the worker says that it is gone.
    pub(crate) fn stop_attempt(
        &mut self,
        now: Moment,
        assigned: Assigned,
        reason: FailureKind,
        actions: &mut Vec<Action>,
    ) {
        let Assigned { worker, attempt, container, .. } = assigned;
        // A worker without a session hears of it when it comes back and lists the attempt.
        if let Some(session) = self.workers.get(&worker).and_then(|worker| worker.session) {
            actions.push(Action::StopAttempt { worker, session, attempt, reason });
        }
        self.set_stopping(now, container);
    }
}
