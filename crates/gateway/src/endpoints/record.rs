//! What became of requests, as tasks in the store.
//!
//! A request dies with its connection, so nothing is lost by writing it down late: at once only
//! where it waits or takes its time, and else when it is over.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use metal9_store::{RequestRow, StubRow, UnixMicros};
use metal9_types::{Failure, FailureKind, TaskId, TaskStatus};
use tokio::sync::mpsc;

use super::book::Place;
use crate::shared::{Shared, SharedRef};
use crate::timestamps;

/// Rows that may wait for the store; more are left out, with a warning.
const QUEUE: usize = 16 * 1024;
/// Rows on their way to the disk.
const IN_FLIGHT: usize = 256;

/// Rows on their way to the store.
#[derive(Debug)]
pub(super) struct Records {
    rows: mpsc::Sender<RequestRow>,
    inbox: Mutex<Option<mpsc::Receiver<RequestRow>>>,
}

impl Default for Records {
    fn default() -> Self {
        let (rows, inbox) = mpsc::channel(QUEUE);
        Self { rows, inbox: Mutex::new(Some(inbox)) }
    }
}

/// Writes rows until the gateway stops.
pub(super) async fn run(shared: SharedRef) {
    let inbox =
        shared.endpoints.records.inbox.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut inbox) = inbox else { return };
    let mut writing = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(result) = writing.next(), if !writing.is_empty() => {
                if let Err(error) = result {
                    tracing::warn!(%error, "what became of a request cannot be stored");
                }
            }
            row = inbox.recv(), if writing.len() < IN_FLIGHT => match row {
                Some(row) => writing.push(shared.store.record_request(row)),
                None => return,
            },
            // What waits now is written before the store is closed, if the time suffices.
            () = shared.shutdown.cancelled(), if inbox.is_empty() && writing.is_empty() => return,
        }
    }
}

/// One request.
#[derive(Debug)]
pub(super) struct Record {
    row: RequestRow,
    since: Instant,
    ended: bool,
    /// Its container takes one request at a time.
    alone: bool,
}

impl Record {
    pub(super) fn new(task: TaskId, stub: &StubRow) -> Self {
        let now: UnixMicros = timestamps::now();
        let row = RequestRow {
            id: task,
            workspace: stub.workspace,
            stub: stub.id,
            status: TaskStatus::Pending,
            worker: None,
            container: None,
            failure: None,
            created_at: now,
            started_at: None,
            ended_at: None,
        };
        Self {
            row,
            since: Instant::now(),
            ended: false,
            alone: stub.config.serving.concurrency == 1,
        }
    }

    /// Whether what its container writes meanwhile is its own.
    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Its row, as it is now.
    pub(super) fn row(&self) -> &RequestRow {
        &self.row
    }

    pub(super) fn elapsed(&self) -> std::time::Duration {
        self.since.elapsed()
    }

    /// The request goes to a container.
    pub(super) fn begins(&mut self, place: &Place) {
        self.row.status = TaskStatus::Running;
        self.row.worker = Some(place.worker);
        self.row.container = Some(place.container);
        self.row.started_at.get_or_insert_with(timestamps::now);
    }

    /// Writes down how it is.
    pub(super) fn tell(&self, shared: &Shared) {
        if shared.endpoints.records.rows.try_send(self.row.clone()).is_err() {
            tracing::warn!(task = %self.row.id, "the store does not keep up with requests");
        }
    }

    /// The request is over; told once.
    pub(super) fn ends(&mut self, shared: &Shared, failure: Option<(FailureKind, &str)>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let failure = failure.map(|(kind, text)| Failure::new(kind, text));
        let status = failure.as_ref().map(|failure| failure.kind.terminal_status());
        self.row.status = status.unwrap_or(TaskStatus::Complete);
        self.row.failure = failure;
        self.row.ended_at = Some(timestamps::now());
        let status = self.row.status.as_str();
        ::metrics::counter!(crate::metrics::TASKS_ENDED, "status" => status).increment(1);
        ::metrics::histogram!(crate::metrics::REQUEST_SECONDS).record(self.since.elapsed());
        self.tell(shared);
    }
}
