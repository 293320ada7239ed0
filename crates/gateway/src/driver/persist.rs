//! Making transitions durable and then telling them, in the order in which they happened.

use std::pin::Pin;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use metal9_core::Transition;
use metal9_store::{Changed, StoreError, TaskChange};
use metal9_types::{AttemptId, Failure, FailureKind, SessionId, TaskId, TaskStatus};
use tokio::sync::mpsc;

use super::actions::Finished;
use crate::hub::Ended;
use crate::shared::SharedRef;

/// Changes that may be on their way to the disk.
const IN_FLIGHT: usize = 1024;

/// A transition on its way to the disk.
#[derive(Debug)]
pub(crate) struct Change {
    change: TaskChange,
    /// The report to acknowledge once the change is durable.
    acknowledge: Option<(SessionId, AttemptId)>,
}

impl Change {
    pub(super) fn new(transition: Transition, report: Option<Finished>) -> Self {
        let acknowledge = report.as_ref().map(|report| (report.session, report.attempt));
        let (phases, result) = match report {
            Some(report) => (report.phases, report.result),
            None => (Vec::new(), Bytes::new()),
        };
        let complete = transition.status == TaskStatus::Complete;
        let change = TaskChange {
            task: transition.task,
            status: transition.status,
            attempts_used: transition.attempts_used,
            attempt: transition.attempt,
            worker: transition.worker,
            container: transition.container,
            failure: transition.failure,
            phases,
            result: complete.then_some(result),
        };
        Self { change, acknowledge }
    }
}

/// What is left to do once a change is durable.
struct Told {
    task: TaskId,
    status: TaskStatus,
    failure: Option<Failure>,
    result: Option<Bytes>,
    acknowledge: Option<(SessionId, AttemptId)>,
    outcome: Result<Changed, StoreError>,
}

/// Starts the task that persists changes.
pub(super) fn start(shared: SharedRef) -> mpsc::Sender<Change> {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    metal9_tasks::spawn_infallible("persist transitions", run(shared, receiver));
    sender
}

async fn run(shared: SharedRef, mut changes: mpsc::Receiver<Change>) {
    let mut in_flight = FuturesOrdered::new();
    loop {
        tokio::select! {
            change = changes.recv(), if in_flight.len() < IN_FLIGHT => {
                let Some(change) = change else { break };
                if let Some(failure) = &change.change.failure {
                    say_failure(&shared, change.change.task, change.change.status, failure).await;
                }
                let mut write = write(SharedRef::clone(&shared), change);
                // The first poll hands the change to the store's queue; doing it here keeps the
                // changes of one task in their order.
                if let std::task::Poll::Ready(told) = futures::poll!(write.as_mut()) {
                    in_flight.push_back(Box::pin(async { told }) as Pin<Box<_>>);
                } else {
                    in_flight.push_back(write);
                }
            }
            Some(told) = in_flight.next(), if !in_flight.is_empty() => tell(&shared, told).await,
        }
    }
    while let Some(told) = in_flight.next().await {
        tell(&shared, told).await;
    }
}

fn write(
    shared: SharedRef,
    change: Change,
) -> Pin<Box<dyn std::future::Future<Output = Told> + Send>> {
    Box::pin(async move {
        let Change { change, acknowledge } = change;
        let (task, status) = (change.task, change.status);
        let (failure, result) = (change.failure.clone(), change.result.clone());
        let outcome = shared.store.transition(change).await;
        Told { task, status, failure, result, acknowledge, outcome }
    })
}

/// A failure reaches the user only as output. An exception's traceback is there already.
async fn say_failure(shared: &SharedRef, task: TaskId, status: TaskStatus, failure: &Failure) {
    if failure.kind == FailureKind::Exception {
        return;
    }
    let text = match status {
        TaskStatus::Retry => format!("{}; trying again\n", failure.message),
        _ => format!("{}\n", failure.message),
    };
    shared.hub.say(task, &text).await;
}

async fn tell(shared: &SharedRef, told: Told) {
    let Told { task, status, failure, result, acknowledge, outcome } = told;
    let mut ended = Ended { status, failure, result };
    match outcome {
        Ok(Changed::Applied | Changed::AlreadyTerminal) => {}
        Ok(Changed::Unknown) => tracing::error!(%task, "a task that was accepted is not stored"),
        Err(error) => {
            tracing::error!(%task, %error, "cannot store a task's state");
            if status.is_terminal() {
                // The worker keeps its report until it is acknowledged, so the end is not lost;
                // the client must not be told an end that may be forgotten.
                shared.hub.say(task, &format!("the result could not be stored: {error}\n")).await;
                let failure = Failure::new(FailureKind::Internal, error.to_string());
                ended = Ended { status: TaskStatus::Error, failure: Some(failure), result: None };
                shared.hub.end(task, ended);
            }
            return;
        }
    }
    if let Some((session, attempt)) = acknowledge {
        shared.acknowledge_finished(session, attempt);
    }
    if status.is_terminal() {
        ::metrics::counter!(crate::metrics::TASKS_ENDED, "status" => status.as_str()).increment(1);
        shared.arguments.take(task);
        shared.hub.end(task, ended);
    } else {
        shared.hub.tell_status(task, status);
    }
}
