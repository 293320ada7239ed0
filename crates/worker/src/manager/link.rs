//! The manager's side of a session.

use metal9_types::{AttemptId, ContainerId, Failure, FailureKind};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use crate::container::{Addresses, Command};
use crate::event::{Event, Welcome};
use crate::gateway::TransferError;
use crate::manager::{ContainerEntry, Manager, State, interval};
use crate::outbox::Next;
use crate::report::{Ended, LiveContainer, Presence, Report};
use crate::runner::CancelReason;

impl Manager {
    /// A session begins: what there is now, and from here on everything is told again.
    pub(super) fn begin_session(&mut self) -> Presence {
        self.link = None;
        self.session += 1;
        self.outbox.rewind();
        // The hello says what containers there are; ends of builds are in nothing but these.
        self.control
            .retain(|report| matches!(report, Report::Built { .. } | Report::Leaving { .. }));
        self.starts.clear();
        let started = self.attempts.iter().filter(|(_, entry)| entry.state == State::Started);
        self.control.extend(started.map(|(attempt, _)| Report::Started(*attempt)));
        let attempts = self.attempts.iter().filter(|(id, _)| self.outbox.contains(**id));
        let (environments, objects) = self.tools.workshop.cached();
        Presence {
            attempts: attempts
                .map(|(id, entry)| (*id, entry.task_id.clone(), entry.container))
                .collect(),
            containers: self.containers.iter().map(|(id, entry)| live(*id, entry)).collect(),
            condition: self.condition.look(),
            environments,
            objects,
            interruption: self.interruption.clone(),
            mounts_juicefs: self.tools.workshop.mounts_juicefs(),
        }
    }

    /// The gateway took the hello: drop what it does not want, and send what waits.
    pub(super) fn welcome(&mut self, welcome: Welcome, outgoing: mpsc::Sender<Report>) {
        self.addresses = Addresses { grpc: welcome.grpc, http: welcome.http };
        self.heartbeat = interval(welcome.heartbeat);
        if let Some(makings) = self.tools.workshop.makings() {
            makings.environments.take_only_wheels(welcome.only_wheels);
        }
        self.link = Some(outgoing);
        self.interruption.clear();
        for attempt in welcome.drop_attempts {
            self.drop_attempt(attempt);
        }
        for container in welcome.drop_containers {
            self.stop_container(container);
        }
        // After a hello the gateway thinks that the worker stays.
        let left = self.draining.map(|until| until.saturating_duration_since(Instant::now()));
        let said = self.control.iter().any(|report| matches!(report, Report::Leaving { .. }));
        if let Some(within) = left.filter(|_| self.deadline.is_none() && !said) {
            self.control.push_back(Report::Leaving { within });
        }
    }

    fn drop_attempt(&mut self, attempt: AttemptId) {
        self.control.retain(|report| *report != Report::Started(attempt));
        self.control.extend(self.outbox.forget(attempt));
        let Some(entry) = self.attempts.get_mut(&attempt) else { return };
        let (running, container) = (entry.state.is_running(), entry.container);
        entry.state = State::Stopped;
        if running {
            self.command(container, Command::Cancel { attempt, reason: CancelReason::Cancelled });
        }
        self.forget_if_over(attempt);
    }

    /// Sends a report that means nothing to a later session.
    pub(super) fn tell_if_connected(&mut self, report: Report) {
        if self.link.is_some() {
            self.control.push_back(report);
        }
    }

    /// Says that the worker is alive, unless so much waits that this would only add to it.
    pub(super) fn beat(&mut self) {
        let waits = self.control.iter().any(|report| matches!(report, Report::Heartbeat(..)));
        if !waits {
            let (usage, condition) = (self.gauge.look(), self.condition.look());
            self.control.push_back(Report::Heartbeat(usage, condition));
        }
    }

    pub(super) fn has_reports(&self) -> bool {
        !self.control.is_empty() || self.outbox.has_next()
    }

    /// Sends as much as the session takes without waiting.
    pub(super) fn send_reports(&mut self) {
        while self.has_reports() {
            let Some(link) = self.link.clone() else { return };
            match link.try_reserve() {
                Ok(place) => match self.next_report() {
                    Some(report) => place.send(report),
                    None => return,
                },
                Err(TrySendError::Full(())) => return,
                Err(TrySendError::Closed(())) => self.link = None,
            }
        }
    }

    fn next_report(&mut self) -> Option<Report> {
        if let Some(report) = self.control.pop_front() {
            return Some(report);
        }
        loop {
            match self.outbox.next()? {
                Next::Send(report) => return Some(report),
                Next::Push { attempt, result } => self.push_result(attempt, result),
            }
        }
    }

    /// Sends a large result on a stream of its own; the end of the attempt waits for it.
    fn push_result(&self, attempt: AttemptId, result: bytes::Bytes) {
        let (tools, session) = (self.tools.clone(), self.session);
        metal9_tasks::spawn_infallible("push-result", async move {
            let outcome = tools.gateway.push_result(attempt, &result).await;
            let _ = tools.events.send(Event::ResultPushed { attempt, session, outcome }).await;
        });
    }

    pub(super) fn result_pushed(
        &mut self,
        attempt: AttemptId,
        session: u64,
        outcome: Result<(), TransferError>,
    ) {
        if session != self.session {
            // The next session pushes it again.
            return;
        }
        match outcome {
            Ok(()) => self.outbox.pushed(attempt),
            // The job is done and its result is here: no reason to give it up.
            Err(TransferError::Unreachable(_)) => self.outbox.push_again(attempt),
            Err(error) => {
                let error = crate::errors::chain(&error);
                tracing::warn!(%attempt, error, "could not send a result");
                let text = format!("the result could not be sent to the gateway: {error}");
                let failure = Failure::new(FailureKind::Internal, text);
                self.outbox.finish(
                    attempt,
                    Ended { outcome: Err(failure), phases: Vec::new(), reusable: false },
                );
            }
        }
    }
}

fn live(container: ContainerId, entry: &ContainerEntry) -> LiveContainer {
    LiveContainer { container, stub: entry.stub, devices: entry.devices.clone() }
}
