//! What the gateway wants done.

use metal9_types::{AttemptId, ContainerId, Failure, FailureKind};
use tokio::sync::mpsc;

use crate::container::{self, Call, Command, Container, ContainerSpec, Job};
use crate::event::Order;
use crate::manager::{AttemptEntry, ContainerEntry, Manager, State};
use crate::output::Sink;
use crate::report::{Ended, Report};
use crate::runner::CancelReason;
use crate::tunnel;

/// Commands a container can be behind with. It is never sent more than a call and three ways to end.
const COMMANDS: usize = 8;

impl Manager {
    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::Assign { container, spec, call } => self.assign(container, spec, call),
            Order::Unreadable { attempt, task_id, container, problem } => {
                let text = format!("the worker could not understand the assignment: {problem}");
                self.refuse(attempt, task_id, container, FailureKind::Internal, text);
            }
            Order::StopAttempt { attempt, reason } => self.stop_attempt(attempt, &reason),
            Order::StopContainer(container) => {
                if !self.stop_container(container) {
                    self.tell_gone(container, "it is not on this worker".to_owned());
                }
            }
            Order::OutputAck { attempt, sequence } => {
                self.outbox.acknowledge(attempt, sequence);
                self.forget_if_over(attempt);
            }
            Order::FinishedAck(attempt) => {
                self.control.extend(self.outbox.forget(attempt));
                self.forget_if_over(attempt);
            }
            Order::Build { build, image_spec, task } => self.build(build, image_spec, task),
            // The token goes, by which the build hears of it.
            Order::CancelBuild(build) => drop(self.builds.remove(&build)),
            Order::OpenTunnel { tunnel, container, process } => {
                let (sockets, gateway) = (&self.tools.sockets, self.tools.gateway.clone());
                sockets.carry(gateway, tunnel, container, process);
            }
            Order::OpenWorkspace { tunnel, container } => {
                let workspace = self.tools.workspaces.get(container);
                tunnel::carry_changes(self.tools.gateway.clone(), tunnel, workspace);
            }
            Order::ReleaseAttempt(attempt) => self.release(attempt),
            Order::Ping => self.beat(),
            Order::RotateCredential => self.tools.gateway.want_rotation(),
        }
    }

    fn assign(&mut self, container: ContainerId, spec: Option<Box<ContainerSpec>>, call: Call) {
        let attempt = call.attempt;
        if self.attempts.contains_key(&attempt) {
            tracing::warn!(%attempt, "an attempt was assigned twice");
            return;
        }
        if self.deadline.is_some() {
            let text = "the worker is shutting down".to_owned();
            return self.refuse(attempt, call.task_id, container, FailureKind::WorkerLost, text);
        }
        let free = |entry: &ContainerEntry| entry.current.is_none() && !entry.stopping;
        match (self.containers.get(&container), spec) {
            (None, Some(spec)) => self.begin_container(container, spec, call),
            (Some(entry), _) if free(entry) => {
                let task_id = call.task_id.clone();
                let job = self.open(container, call);
                if !self.command(container, Command::Call(Box::new(job))) {
                    let text = "the container of the call has just ended".to_owned();
                    self.refuse(attempt, task_id, container, FailureKind::Internal, text);
                }
            }
            (Some(_), _) => {
                let text = "the container of the call is busy or ending".to_owned();
                self.refuse(attempt, call.task_id, container, FailureKind::Internal, text);
            }
            (None, None) => {
                let text = "the container of the call is not on this worker".to_owned();
                self.refuse(attempt, call.task_id, container, FailureKind::Internal, text);
            }
        }
    }

    fn begin_container(&mut self, id: ContainerId, spec: Box<ContainerSpec>, call: Call) {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let entry = ContainerEntry {
            stub: spec.stub,
            devices: spec.devices.clone(),
            commands,
            current: None,
            last: call.attempt,
            starting: true,
            stopping: false,
        };
        self.containers.insert(id, entry);
        let job = self.open(id, call);
        let (addresses, tools) = (self.addresses.clone(), self.tools.clone());
        let container = Container { id, spec, addresses, tools, commands: inbox, anew: false };
        metal9_tasks::spawn_infallible("container", container::run(container, job));
    }

    /// Takes note of an attempt in a container and makes its queue.
    fn open(&mut self, container: ContainerId, call: Call) -> Job {
        let attempt = call.attempt;
        let (task_id, state) = (call.task_id.clone(), State::Assigned);
        self.attempts.insert(attempt, AttemptEntry { task_id, container, state });
        if let Some(entry) = self.containers.get_mut(&container) {
            entry.current = Some(attempt);
            entry.last = attempt;
        }
        let budget = self.outbox.open(attempt);
        Job { call, sink: Sink { attempt, budget } }
    }

    /// Answers an attempt that cannot run here. A container that is not here is said to be gone.
    fn refuse(
        &mut self,
        attempt: AttemptId,
        task_id: String,
        container: ContainerId,
        kind: FailureKind,
        text: String,
    ) {
        tracing::warn!(%attempt, %container, text, "refused an attempt");
        self.outbox.open(attempt);
        self.attempts.insert(attempt, AttemptEntry { task_id, container, state: State::Finished });
        self.outbox.finish(attempt, Ended::failed(Failure::new(kind, text.clone()), Vec::new()));
        if !self.containers.contains_key(&container) {
            self.outbox.follow(attempt, Report::ContainerGone { container, reason: text });
        }
    }

    fn stop_attempt(&mut self, attempt: AttemptId, reason: &str) {
        let Some(entry) = self.attempts.get_mut(&attempt) else { return };
        let (before, container) = (entry.state, entry.container);
        entry.state = State::Stopped;
        if before.is_running() {
            let reason = match reason {
                "timeout" => CancelReason::Timeout,
                _ => CancelReason::Cancelled,
            };
            self.command(container, Command::Cancel { attempt, reason });
        } else if before == State::Finished {
            // Its end crossed with this order, so the gateway takes the container for lost.
            self.outbox.close(attempt);
            self.forget_if_over(attempt);
            let idle = |entry: &ContainerEntry| entry.current.is_none() && entry.last == attempt;
            if self.containers.get(&container).is_some_and(idle) {
                self.stop_container(container);
            }
        }
    }

    /// An attempt that serves requests is over. One that has ended is known to have.
    fn release(&mut self, attempt: AttemptId) {
        let entry = self.attempts.get(&attempt).filter(|entry| entry.state.is_running());
        if let Some(container) = entry.map(|entry| entry.container) {
            self.command(container, Command::Release(attempt));
        }
    }

    /// Ends a container; `false` if there is none of this id. What runs in it ends unheard, unless
    /// the worker itself is ending.
    pub(super) fn stop_container(&mut self, container: ContainerId) -> bool {
        let Some(entry) = self.containers.get_mut(&container) else { return false };
        entry.stopping = true;
        if self.deadline.is_none() {
            let current = entry.current.and_then(|attempt| self.attempts.get_mut(&attempt));
            if let Some(attempt) = current {
                attempt.state = State::Stopped;
            }
        }
        self.command(container, Command::Stop);
        true
    }

    /// Tells a container something; `false` if it does not listen any more, as it is ending.
    pub(super) fn command(&mut self, container: ContainerId, command: Command) -> bool {
        let Some(entry) = self.containers.get_mut(&container) else { return false };
        entry.stopping |= matches!(command, Command::Cancel { .. } | Command::Stop);
        match entry.commands.try_send(command) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(command)) => {
                tracing::error!(%container, ?command, "a container does not follow its commands");
                false
            }
        }
    }
}
