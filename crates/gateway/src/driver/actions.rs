//! Carrying out what the scheduler wants.

use std::time::Duration;

use bytes::Bytes;
use metal9_core::{Action, Input, Transition, WorkerHello};
use metal9_proto::worker as wire;
use metal9_store::UnixMicros;
use metal9_types::{AttemptId, CallOutcome, Phase, SessionId, TaskStatus, WorkerId};

use super::Driver;
use super::notes::Note;
use super::persist::Change;
use crate::hub::Ended;
use crate::timestamps;

/// A worker's report that an attempt is over.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) worker: WorkerId,
    pub(crate) session: SessionId,
    pub(crate) attempt: AttemptId,
    pub(crate) outcome: CallOutcome,
    pub(crate) result: Bytes,
    pub(crate) phases: Vec<Phase>,
    pub(crate) reusable: bool,
    /// Nothing has said yet that the user's code was called.
    pub(crate) started_unsaid: bool,
}

impl Driver {
    /// Carries out actions in order. `finished` is the report that caused them, if one did: its
    /// result goes with the transition it brings about, and the worker is told when it is durable.
    pub(super) async fn carry_out(
        &mut self,
        actions: &mut Vec<Action>,
        mut finished: Option<Finished>,
    ) {
        for action in actions.drain(..) {
            if let Action::Assign { task, attempt, .. } = &action
                && let Some(live) = self.shared.hub.get(*task)
            {
                live.set_attempt(*attempt);
            }
            if matches!(action, Action::Assign { .. }) {
                metal9_faults::point("assigning").await;
            }
            match self.shared.fleet.carry_out(action) {
                None => {}
                Some(Action::Transition(transition))
                    if self.shared.endpoints.is_hold(transition.task) =>
                {
                    self.note_hold(&transition);
                    self.shared.endpoints.transition(&transition);
                    self.tell_unstored(transition).await;
                }
                Some(Action::Transition(transition))
                    if self.shared.floors.is_warm_up(transition.task) =>
                {
                    self.shared.floors.transition(&transition);
                    self.tell_unstored(transition).await;
                }
                Some(Action::Transition(transition)) => {
                    let is_it = finished.as_ref().is_some_and(|f| {
                        transition.attempt == Some(f.attempt)
                            && transition.status != TaskStatus::Running
                    });
                    let report = if is_it { finished.take() } else { None };
                    self.persist(transition, report).await;
                }
                Some(Action::Waiting { sentence, .. }) if sentence.is_empty() => {}
                Some(Action::Waiting { task, sentence }) => {
                    self.shared.endpoints.waits(task, &sentence);
                    self.shared.hub.say(task, &format!("{sentence}\n")).await;
                }
                Some(Action::WorkerLeft { worker }) => {
                    tracing::info!(%worker, "worker left");
                    self.shared.endpoints.set_away(worker, false);
                }
                Some(Action::WorkerLost { worker }) => {
                    self.shared.endpoints.set_away(worker, false);
                    tracing::warn!(%worker, "worker lost");
                    // One that only hung or slept may still hold its session, in which the scheduler
                    // would not know it any more. It must begin another, in which it is told which
                    // of its attempts are no longer wanted.
                    self.shared.fleet.cut(worker);
                    ::metrics::counter!(crate::metrics::WORKERS_LOST).increment(1);
                }
                Some(Action::Welcome { worker, session, drop_attempts, drop_containers }) => {
                    self.welcome(worker, session, &drop_attempts, &drop_containers);
                }
                Some(other) => tracing::error!(?other, "an action nobody carries out"),
            }
        }
        // A report that changed nothing (of an attempt that was replaced, say) is still answered:
        // the worker keeps it until it is.
        if let Some(stale) = finished
            && !self.shared.ends.redirect(stale.attempt, stale.session)
        {
            self.shared.acknowledge_finished(stale.session, stale.attempt);
        }
    }

    /// Tells what became of a container that serves requests, or was only to start. Nothing of it
    /// is stored, so the worker's report, if there is one, is answered with those that changed
    /// nothing.
    async fn tell_unstored(&self, transition: Transition) {
        let Transition { task, status, failure, .. } = transition;
        if let Some(failure) = &failure {
            self.shared.hub.say(task, &format!("{}\n", failure.message)).await;
        }
        if status.is_terminal() {
            self.shared.hub.end(task, Ended { status, failure, result: None }).await;
        }
    }

    /// Writes down which container a hold has.
    fn note_hold(&self, transition: &Transition) {
        let Transition { task: hold, status, container, .. } = *transition;
        let Some(stub) = self.shared.endpoints.stub_of(hold) else { return };
        if status.is_terminal() {
            self.notes.add(Note::Served { hold });
        } else if let Some(container) = container {
            self.notes.add(Note::Serves { hold, stub, container });
        }
    }

    async fn persist(&mut self, transition: Transition, report: Option<Finished>) {
        if let Some(report) = &report {
            metal9_faults::point("end-reported").await;
            self.shared.ends.expect(report.attempt, report.session);
        }
        let change = Change::new(transition, report);
        if self.changes.send(change).await.is_err() {
            tracing::error!("the task that persists changes is gone");
            self.shared.shutdown.cancel();
        }
    }

    /// A worker connected: what it has and the scheduler keeps becomes current again.
    pub(super) async fn hello(&mut self, hello: Box<WorkerHello>, drain_until: Option<UnixMicros>) {
        // A worker has one session, its latest; hellos of others that were held up come too late.
        if !self.shared.fleet.is_connected(hello.session) {
            tracing::debug!(worker = %hello.worker, "a hello of a session that is over");
            return;
        }
        metal9_faults::point("hello").await;
        let worker = hello.worker;
        self.reattaching.clone_from(&hello.attempts);
        self.input(Input::WorkerHello(hello), None).await;
        self.reattaching.clear();
        // Who was being emptied when the gateway or the worker stopped still is.
        if let Some(until) = drain_until {
            let left = u64::try_from(until - timestamps::now()).unwrap_or(0);
            let within = Duration::from_micros(left);
            self.input(Input::Drain { worker, within }, None).await;
        }
    }

    fn welcome(
        &self,
        worker: WorkerId,
        session: SessionId,
        drop_attempts: &[AttemptId],
        drop_containers: &[metal9_types::ContainerId],
    ) {
        let shared = &self.shared;
        // Before the worker is answered: it sends output as soon as it is.
        for reattach in &self.reattaching {
            if self.core.attempt_task(reattach.attempt) == Some(reattach.task)
                && let Some(live) = shared.hub.get(reattach.task)
            {
                live.set_attempt(reattach.attempt);
            }
        }
        // An end that is not on disk yet must not be dropped where it can be told again.
        let dropped = drop_attempts.iter().filter(|attempt| !shared.ends.is_waiting(**attempt));
        let host = shared.advertised_host();
        let heartbeat = shared.options.heartbeat().as_millis();
        let message = wire::Welcome {
            worker_id: worker.to_string(),
            protocol_version: metal9_proto::PROTOCOL_VERSION,
            heartbeat_millis: u32::try_from(heartbeat).unwrap_or(1000),
            drop_attempts: dropped.map(|attempt| attempt.0).collect(),
            drop_containers: drop_containers.iter().map(|container| container.0).collect(),
            gateway_grpc: format!("{host}:{}", shared.grpc_addr.port()),
            gateway_http: format!("{host}:{}", shared.http_addr.port()),
            only_wheels: shared
                .fleet
                .pool(session)
                .is_some_and(|pool| shared.options.is_untrusted(&pool)),
        };
        let message = wire::gateway_message::Message::Welcome(message);
        shared.fleet.send(session, message.into());
    }
}

impl crate::shared::Shared {
    /// Tells a worker that the end of an attempt is durable, so that it may forget it.
    pub(crate) fn acknowledge_finished(&self, session: SessionId, attempt: AttemptId) {
        let ack = wire::FinishedAck { attempt_id: attempt.0 };
        let message = wire::gateway_message::Message::FinishedAck(ack);
        self.fleet.send(session, message.into());
    }
}
