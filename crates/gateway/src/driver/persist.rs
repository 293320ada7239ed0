//! Making transitions durable and then telling them, in the order in which they happened.
//!
//! An end that cannot be stored, because the disk is full, say, is not told: it is stored again and
//! again until it can be. Meanwhile the worker keeps its report, so it survives even the end of the
//! gateway.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{FuturesOrdered, FuturesUnordered};
use metal9_core::Transition;
use metal9_store::{Changed, StoreError, TaskChange};
use metal9_types::{AttemptId, Failure, FailureKind, TaskId, TaskStatus};
use tokio::sync::mpsc;

use super::actions::Finished;
use crate::hub::Ended;
use crate::shared::SharedRef;

/// Changes that may be on their way to the disk.
const IN_FLIGHT: usize = 1024;

/// How long an end that could not be stored waits for the next try.
const AGAIN: Duration = Duration::from_secs(1);

/// A transition on its way to the disk.
#[derive(Debug)]
pub(crate) struct Change {
    change: TaskChange,
    /// The attempt whose report is to be acknowledged once the change is durable.
    acknowledge: Option<AttemptId>,
}

impl Change {
    pub(super) fn new(transition: Transition, report: Option<Finished>) -> Self {
        let acknowledge = report.as_ref().map(|report| report.attempt);
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

/// A change that has been handed to the store.
struct Tried {
    change: Change,
    outcome: Result<Changed, StoreError>,
}

type Trying = Pin<Box<dyn Future<Output = Tried> + Send>>;

/// Starts the task that persists changes.
pub(super) fn start(shared: SharedRef) -> mpsc::Sender<Change> {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    metal9_tasks::spawn_infallible("persist transitions", run(shared, receiver));
    sender
}

async fn run(shared: SharedRef, mut changes: mpsc::Receiver<Change>) {
    let mut in_flight = FuturesOrdered::new();
    // Ends that could not be stored. Nothing follows an end, so they need no order, and one that
    // the store will not have does not hold up the others.
    let mut again = FuturesUnordered::new();
    loop {
        let has_room = in_flight.len() + again.len() < IN_FLIGHT;
        let tried = tokio::select! {
            change = changes.recv(), if has_room => {
                let Some(change) = change else { break };
                if let Some(failure) = &change.change.failure {
                    say_failure(&shared, change.change.task, change.change.status, failure).await;
                }
                let mut trying = write(SharedRef::clone(&shared), change);
                // The first poll hands the change to the store's queue; doing it here keeps the
                // changes of one task in their order.
                if let std::task::Poll::Ready(tried) = futures::poll!(trying.as_mut()) {
                    trying = Box::pin(std::future::ready(tried));
                }
                in_flight.push_back(trying);
                continue;
            }
            Some(tried) = in_flight.next(), if !in_flight.is_empty() => tried,
            Some(tried) = again.next(), if !again.is_empty() => tried,
        };
        if let Some(failed) = settle(&shared, tried).await {
            again.push(write_later(SharedRef::clone(&shared), failed));
        }
    }
    // The gateway is stopping. What cannot be stored now is still with its worker.
    while let Some(tried) = in_flight.next().await {
        let _ = settle(&shared, tried).await;
    }
}

fn write(shared: SharedRef, change: Change) -> Trying {
    Box::pin(async move {
        let outcome = shared.store.transition(change.change.clone()).await;
        Tried { change, outcome }
    })
}

/// The same after a pause.
fn write_later(shared: SharedRef, change: Change) -> Trying {
    Box::pin(async move {
        tokio::time::sleep(AGAIN).await;
        write(shared, change).await
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

/// Tells what is durable; gives back an end that is not.
async fn settle(shared: &SharedRef, tried: Tried) -> Option<Change> {
    let Tried { change, outcome } = tried;
    let (task, status) = (change.change.task, change.change.status);
    match outcome {
        Ok(Changed::Applied) => tell(shared, change).await,
        Ok(Changed::AlreadyTerminal) => tell_stored(shared, change).await,
        Ok(Changed::Unknown) => {
            tracing::error!(%task, "a task that was accepted is not stored");
            tell(shared, change).await;
        }
        // The store is closed last, when the gateway stops: nobody is left to be told.
        Err(StoreError::Closed) => {}
        Err(error) if status.is_terminal() => {
            ::metrics::counter!(crate::metrics::ENDS_NOT_STORED).increment(1);
            warn_of(&error, task, "the end of a task cannot be stored yet; trying again");
            return Some(change);
        }
        // A state on the way is told again by what follows it, and by the worker after a restart.
        Err(error) => {
            warn_of(&error, task, "cannot store a task's state");
            tell(shared, change).await;
        }
    }
    None
}

/// A full disk is the operator's to mend; anything else should not happen.
fn warn_of(error: &StoreError, task: TaskId, what: &str) {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    if error.tier() == metal9_types::Tier::Platform {
        tracing::error!(%task, %error, cause, "{what}");
    } else {
        tracing::warn!(%task, %error, "{what}");
    }
}

/// The task had ended already: its streams are told the end that is stored, which is the one that
/// everybody else is told.
async fn tell_stored(shared: &SharedRef, change: Change) {
    let task = change.change.task;
    let row = shared.store.task(task).await.ok().flatten();
    let stored =
        match row.filter(|row| change.change.status.is_terminal() && row.ended_at.is_some()) {
            Some(row) => {
                let result = shared.store.task_result(task).await.ok().flatten();
                let (status, failure) = (row.status, row.failure);
                Change { change: TaskChange { status, failure, result, ..change.change }, ..change }
            }
            None => change,
        };
    tell(shared, stored).await;
}

async fn tell(shared: &SharedRef, change: Change) {
    let Change { change, acknowledge } = change;
    let TaskChange { task, status, failure, result, .. } = change;
    if status.is_terminal() {
        metal9_faults::point("end-committed").await;
    }
    if let Some(attempt) = acknowledge
        && let Some(session) = shared.ends.settle(attempt)
    {
        shared.acknowledge_finished(session, attempt);
    }
    if status.is_terminal() {
        ::metrics::counter!(crate::metrics::TASKS_ENDED, "status" => status.as_str()).increment(1);
        shared.arguments.take(task);
        shared.hub.end(task, Ended { status, failure, result }).await;
    } else {
        shared.hub.tell_status(task, status);
    }
}
