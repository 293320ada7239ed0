//! Doing what the book wants of the scheduler and the workers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metal9_core::TaskSpec;
use metal9_proto::worker as wire;
use metal9_types::{Failure, FailureKind, StubId, TaskId, TaskStatus};
use wire::gateway_message::Message;

use super::book::Step;
use crate::driver::{Command, stub_spec};
use crate::shared::SharedRef;

/// A hold waits for as long as requests do, so its own time to live is of no meaning.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(366 * 24 * 3600);

/// Does what there is to do until the gateway stops.
pub(crate) async fn run(shared: SharedRef) {
    metal9_tasks::spawn_infallible("request records", super::record::run(Arc::clone(&shared)));
    let endpoints = &shared.endpoints;
    loop {
        let (step, look) = {
            let mut state = endpoints.lock();
            (state.todo.pop_front(), state.book.next_look())
        };
        if let Some(step) = step {
            carry_out(&shared, step).await;
            continue;
        }
        let at = look.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        tokio::select! {
            () = endpoints.changed.notified() => {}
            () = tokio::time::sleep_until(at.into()) => {
                endpoints.change(|state, now| state.book.look(now));
            }
            () = shared.shutdown.cancelled() => return,
        }
        let (waiting, running) = endpoints.counts();
        ::metrics::gauge!(crate::metrics::REQUESTS, "state" => "waiting").set(waiting as f64);
        ::metrics::gauge!(crate::metrics::REQUESTS, "state" => "running").set(running as f64);
    }
}

async fn carry_out(shared: &SharedRef, step: Step) {
    match step {
        Step::Ask { stub, hold } => ask(shared, stub, hold).await,
        Step::Withdraw(hold) => {
            let failure = Failure::new(FailureKind::Cancelled, "no request waits for it");
            if shared.driver.cancel(hold, failure).await.is_err() {
                tracing::debug!("the gateway is stopping");
            }
        }
        Step::Release { hold, attempt, worker } => {
            shared.endpoints.pool.forget(hold);
            let release = wire::ReleaseAttempt { attempt_id: attempt.0 };
            // A worker that is not there is told when it comes back.
            shared.fleet.tell(worker, Message::ReleaseAttempt(release));
        }
        Step::Give { .. } | Step::Refuse { .. } => {}
    }
}

/// Hands a hold to the scheduler, as a task that is not stored.
async fn ask(shared: &SharedRef, stub: StubId, hold: TaskId) {
    let Some(row) = shared.endpoints.lock().stubs.get(&stub).cloned() else { return };
    let claim = shared.admission.known_task(row.workspace, 0);
    shared.hub.open(claim, hold, row.workspace, true, TaskStatus::Pending, 0);
    let spec = TaskSpec {
        task: hold,
        workspace: row.workspace,
        stub,
        attempts_used: 0,
        max_retries: 0,
        timeout: None,
        ttl: FOR_EVER,
        recovered: None,
        warm_up: false,
    };
    if shared.driver.send(Command::Submit(Box::new(stub_spec(shared, &row)), spec)).await.is_err() {
        tracing::debug!("the gateway is stopping");
    }
}
