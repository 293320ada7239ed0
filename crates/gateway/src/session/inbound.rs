//! What a worker says.

use std::io;
use std::time::Duration;

use metal9_core::{AttemptReport, Input};
use metal9_proto::worker as wire;
use metal9_store::LogStream;
use metal9_types::{AttemptId, CallOutcome, ContainerId, Failure, FailureKind, TaskId};
use wire::gateway_message::Message as ToWorker;
use wire::worker_message::Message;

use super::{Session, convert};
use crate::driver::{Command, Finished};

/// A message that ends the session.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReceiveError {
    #[error(transparent)]
    Api(#[from] crate::error::ApiError),
    #[error("what the worker says of its machine makes no sense: {0}")]
    Condition(String),
    #[error("cannot write a task's log")]
    Log(#[source] std::io::Error),
}

/// How long output waits for room on the disk before it is tried again.
const DISK_PAUSE: Duration = Duration::from_millis(250);

fn has_no_room(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
}

impl Session {
    pub(super) async fn receive(&self, message: wire::WorkerMessage) -> Result<(), ReceiveError> {
        let shared = &self.shared;
        match message.message {
            // Messages that reach the scheduler anyway need no word of their own.
            Some(Message::AttemptStarted(started)) => {
                let attempt = AttemptId(started.attempt_id);
                let input = Input::Attempt { attempt, report: AttemptReport::Started };
                self.alive().await?;
                // One that was not given to this worker in this session is not its to start.
                if let Some(task) = self.task_of(attempt) {
                    shared.driver.input(input).await?;
                    shared.endpoints.started(task, attempt);
                }
            }
            Some(Message::Finished(finished)) => {
                self.alive().await?;
                self.finished(finished).await?;
            }
            Some(Message::Output(output)) => self.output(&output).await?,
            Some(Message::AttemptProgress(progress)) => {
                if let Some(task) = self.task_of(AttemptId(progress.attempt_id)) {
                    shared.hub.say(task, &format!("{}\n", progress.text.trim_end())).await;
                }
            }
            Some(Message::Heartbeat(heartbeat)) => {
                tracing::trace!(worker = %self.worker.id, ?heartbeat, "heartbeat");
                self.alive().await?;
                if let Some(condition) = heartbeat.condition {
                    self.condition(condition).await?;
                }
            }
            Some(Message::ContainerGone(gone)) => {
                let container = ContainerId(gone.container_id);
                tracing::debug!(%container, reason = gone.reason, "container gone");
                shared.driver.send(Command::Gone(self.worker.id, container)).await?;
            }
            Some(Message::BuildProgress(progress)) => {
                shared.builds.progress(progress.build_id, progress.text);
            }
            Some(Message::BuildFinished(finished)) => shared.builds.finished(finished),
            // Said in a session that is no more, it was meant by a worker that has ended since,
            // not by the one that has connected again.
            Some(Message::Leaving(_)) if !shared.fleet.is_connected(self.session) => {}
            Some(Message::Leaving(wire::Leaving { within_millis })) => {
                let worker = self.worker.id;
                let within = Duration::from_millis(within_millis);
                let input = match within_millis {
                    0 => Input::WorkerLeaving { worker },
                    _ => Input::WorkerLeavingWithin { worker, within },
                };
                shared.driver.input(input).await?;
            }
            Some(Message::Hello(_)) | None => {
                tracing::warn!(worker = %self.worker.id, "a message out of place");
            }
        }
        Ok(())
    }

    /// How the machine is doing is news to the scheduler only when it changes what begins there.
    async fn condition(&self, condition: wire::Condition) -> Result<(), ReceiveError> {
        let condition = convert::machine::condition(condition, self.devices)
            .map_err(ReceiveError::Condition)?;
        let (thermal, power) = (condition.thermal, condition.power);
        if !self.shared.fleet.set_condition(self.session, condition) {
            return Ok(());
        }
        tracing::info!(worker = %self.worker.id, ?thermal, ?power, "a worker's condition changed");
        let (worker, session) = (self.worker.id, self.session);
        let input = Input::WorkerCondition { worker, session, thermal, power };
        Ok(self.shared.driver.input(input).await?)
    }

    async fn alive(&self) -> Result<(), ReceiveError> {
        if !self.is_news(self.shared.options.heartbeat() / 4) {
            return Ok(());
        }
        let input = Input::WorkerAlive { worker: self.worker.id, session: self.session };
        Ok(self.shared.driver.input(input).await?)
    }

    async fn output(&self, output: &wire::Output) -> Result<(), ReceiveError> {
        let attempt = AttemptId(output.attempt_id);
        let stream = match output.stream() {
            wire::OutputStream::Stderr => LogStream::Stderr,
            _ => LogStream::Stdout,
        };
        if let Some(task) = self.task_of(attempt) {
            metal9_faults::point("output").await;
            self.keep_output(task, attempt, output.sequence, stream, &output.text).await?;
            self.keep_for_request(task, stream, &output.text).await;
            metal9_faults::point("output-kept").await;
        }
        let ack = wire::OutputAck { attempt_id: attempt.0, sequence: output.sequence };
        self.shared.fleet.send(self.session, ToWorker::OutputAck(ack).into());
        Ok(())
    }

    /// What a container wrote while it had one request is that request's, too.
    async fn keep_for_request(&self, hold: TaskId, stream: LogStream, text: &str) {
        let Some(request) = self.shared.endpoints.writes(hold) else { return };
        let logs = self.shared.store.logs();
        if let Err(error) = logs.append(request, AttemptId(0), 0, stream, text).await {
            tracing::warn!(%request, %error, "a request's output is only in its container's");
        }
    }

    /// Keeps output, and waits while the disk has no room for it. The worker waits too then: it holds
    /// what is not acknowledged and in the end lets its jobs wait.
    async fn keep_output(
        &self,
        task: TaskId,
        attempt: AttemptId,
        sequence: u64,
        stream: LogStream,
        text: &str,
    ) -> Result<(), ReceiveError> {
        loop {
            match self.shared.hub.output(task, attempt, sequence, stream, text).await {
                Ok(()) => return Ok(()),
                Err(error) if has_no_room(&error) => {
                    tracing::warn!(%task, %error, "a task's output waits for the disk");
                    // What the worker says is not read meanwhile, so nobody else counts it alive.
                    self.alive().await?;
                    tokio::time::sleep(DISK_PAUSE).await;
                }
                Err(error) => return Err(ReceiveError::Log(error)),
            }
        }
    }

    async fn finished(&self, finished: wire::Finished) -> Result<(), ReceiveError> {
        let attempt = AttemptId(finished.attempt_id);
        self.forget(attempt);
        let mut outcome = convert::outcome(finished.failure);
        let result = if finished.result_pushed {
            self.results.take(self.worker.id, attempt)
        } else {
            Some(finished.result)
        };
        if result.is_none() && outcome == CallOutcome::Returned {
            // A pushed result is only in this process's memory; after a restart in between the
            // worker pushes again, so this means that the worker did not keep to the protocol.
            let message = "the worker reported a result that it did not send";
            outcome = CallOutcome::Failed(Failure::new(FailureKind::Internal, message));
        }
        let report = Finished {
            worker: self.worker.id,
            session: self.session,
            attempt,
            outcome,
            result: result.unwrap_or_default(),
            phases: convert::phases(finished.phases),
            reusable: finished.container_reusable,
            started_unsaid: finished.started_unsaid,
        };
        Ok(self.shared.driver.send(Command::Finished(report)).await?)
    }
}
