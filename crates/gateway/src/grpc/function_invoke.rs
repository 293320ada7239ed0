//! FunctionInvoke: accept a call, or attach to one, and stream what becomes of it.
//!
//! The stream's messages, in order: one registration (the task id and nothing else, sent only when
//! the task is durable), output as it comes, and exactly one final message with `done`, the exit
//! code and the result. A client that lost its stream opens another with the task's id and the
//! number of bytes of output it has; it never starts a second task.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metal9_proto::beta9::function::{FunctionInvokeRequest, FunctionInvokeResponse};
use metal9_store::{StubRow, TaskRow};
use metal9_types::{Failure, FailureKind, StubKind, TaskId, TaskStatus};
use tonic::codegen::BoxStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::tail;
use crate::accept::{Call, NewCall, accept, own_stub};
use crate::admission::Claim;
use crate::auth::Caller;
use crate::deployed::Callable;
use crate::error::ApiError;
use crate::hub::{Ended, Live};
use crate::metrics;
use crate::shared::{Shared, SharedRef};
use crate::validate::{refuse, shown};
use crate::yielding::{Yielder, yielding};

pub(super) type InvokeStream = BoxStream<FunctionInvokeResponse>;
/// What the client reads slowly stays in the log: only one message at a time is given out.
type Messages = Yielder<Result<FunctionInvokeResponse, Status>>;

pub(super) async fn invoke(
    shared: &SharedRef,
    request: Request<FunctionInvokeRequest>,
) -> Result<Response<InvokeStream>, ApiError> {
    let arrived = Instant::now();
    let caller = shared.grpc_caller(request.metadata()).await?;
    let (metadata, _, request) = request.into_parts();
    let open = shared.admission.stream(caller.workspace)?;
    if let Some(task) = header(&metadata, "x-beta9-task-id") {
        let offset = header(&metadata, "x-beta9-log-offset");
        return reattach(shared, &caller, open, task, offset).await;
    }
    let request_id = header(&metadata, "x-beta9-request-id").map(str::to_owned);
    let stub = own_stub(shared, &caller, &request.stub_id).await?;
    require_function(&stub)?;
    let stub = Callable::of(shared, stub).await?;
    let headless = request.headless;
    let call = NewCall { stub, arguments: request.args, headless, request_id };
    let accepted = accept(shared, call).await?;
    ::metrics::histogram!(metrics::ACCEPT_SECONDS).record(arrived.elapsed());
    match accepted {
        Call::New(fresh) => Ok(stream(shared, &caller, open, Source::Live(fresh.attend()), 0)),
        Call::Known(task) => attach(shared, &caller, open, task, 0).await,
    }
}

/// Only functions are called. What answers requests or takes from a queue has other doors.
fn require_function(stub: &StubRow) -> Result<(), ApiError> {
    let (what, hint) = match stub.config.kind {
        StubKind::Function | StubKind::Schedule => return Ok(()),
        StubKind::Taskqueue => ("a task queue", "put tasks into it with `.put()`, or over HTTP"),
        StubKind::Endpoint | StubKind::Asgi => ("an endpoint", "send it requests over HTTP"),
    };
    let name = &stub.config.name;
    Err(refuse(format!("`{name}` is {what} and cannot be called as a function is"), hint))
}

/// A header's value; nothing if it is missing or empty.
fn header<'a>(metadata: &'a MetadataMap, name: &str) -> Option<&'a str> {
    metadata.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
}

async fn reattach(
    shared: &SharedRef,
    caller: &Caller,
    open: Claim,
    task: &str,
    offset: Option<&str>,
) -> Result<Response<InvokeStream>, ApiError> {
    let id = task.parse().map_err(|_| ApiError::NotFound { kind: "task", id: shown(task) })?;
    let offset = match offset {
        None => 0,
        Some(text) => text.parse().map_err(|_| {
            ApiError::Invalid(format!(
                "x-beta9-log-offset `{}` is not a number of bytes",
                shown(text)
            ))
        })?,
    };
    attach(shared, caller, open, id, offset).await
}

async fn attach(
    shared: &SharedRef,
    caller: &Caller,
    open: Claim,
    task: TaskId,
    offset: u64,
) -> Result<Response<InvokeStream>, ApiError> {
    let missing = || ApiError::NotFound { kind: "task", id: task.to_string() };
    if let Some(live) = shared.hub.get(task) {
        if live.workspace != caller.workspace {
            return Err(missing());
        }
        return Ok(stream(shared, caller, open, Source::Live(live), offset));
    }
    let row = shared.store.task(task).await?.ok_or_else(missing)?;
    if row.workspace != caller.workspace {
        return Err(missing());
    }
    Ok(stream(shared, caller, open, Source::Stored(Box::new(row)), offset))
}

/// Where a stream gets a task from.
enum Source {
    Live(Arc<Live>),
    Stored(Box<TaskRow>),
}

/// `open` is given back when the stream ends.
fn stream(
    shared: &SharedRef,
    caller: &Caller,
    open: Claim,
    source: Source,
    offset: u64,
) -> Response<InvokeStream> {
    let shared = SharedRef::clone(shared);
    let mut leave = caller.leave.clone();
    match source {
        Source::Live(live) => {
            live.attach();
            let attached = Attached { shared, live, _open: open };
            Response::new(Box::pin(yielding(move |messages| async move {
                tokio::select! {
                    biased;
                    error = leave.over() => messages.give(Err(error.into())).await,
                    () = follow(&attached.shared, &attached.live, offset, &messages) => {}
                }
            })))
        }
        Source::Stored(row) => Response::new(Box::pin(yielding(move |messages| async move {
            let _open = open;
            tokio::select! {
                biased;
                error = leave.over() => messages.give(Err(error.into())).await,
                () = replay(&shared, &row, offset, &messages) => {}
            }
        }))),
    }
}

/// A client's stream of a task that has not ended, until it is dropped.
struct Attached {
    shared: SharedRef,
    live: Arc<Live>,
    _open: Claim,
}

impl Drop for Attached {
    fn drop(&mut self) {
        if self.live.detach() && !self.shared.shutdown.is_cancelled() {
            Shared::watch_for_client(&self.shared, Arc::clone(&self.live));
        }
    }
}

/// The stream has had its last message.
struct Over;

async fn send(messages: &Messages, message: FunctionInvokeResponse) {
    messages.give(Ok(message)).await;
}

fn registration(task: TaskId) -> FunctionInvokeResponse {
    FunctionInvokeResponse { task_id: task.to_string(), ..Default::default() }
}

/// Streams a task that has not ended.
async fn follow(shared: &Shared, live: &Live, mut offset: u64, messages: &Messages) {
    let mut watch = live.watch();
    send(messages, registration(live.task)).await;
    loop {
        let snapshot = watch.borrow_and_update().clone();
        offset = match send_output(shared, live.task, offset, snapshot.log_end, messages).await {
            Ok(offset) => offset,
            Err(Over) => return,
        };
        if let Some(ended) = snapshot.ended {
            return send(messages, last_message(live.task, &ended)).await;
        }
        tokio::select! {
            changed = watch.changed() => if changed.is_err() { return },
            () = shared.shutdown.cancelled() => {
                let status = Status::unavailable("the gateway is stopping; the task goes on");
                return messages.give(Err(status)).await;
            }
        }
    }
}

/// Streams a task that has ended, from the store.
async fn replay(shared: &Shared, row: &TaskRow, offset: u64, messages: &Messages) {
    send(messages, registration(row.id)).await;
    let end = shared.store.logs().len(row.id).await.unwrap_or(0);
    if send_output(shared, row.id, offset, end, messages).await.is_err() {
        return;
    }
    let result = match row.status {
        TaskStatus::Complete => match shared.store.task_result(row.id).await {
            Ok(result) => result,
            Err(error) => return messages.give(Err(Status::from(ApiError::from(error)))).await,
        },
        _ => None,
    };
    let ended = Ended { status: row.status, failure: row.failure.clone(), result };
    send(messages, last_message(row.id, &ended)).await;
}

async fn send_output(
    shared: &Shared,
    task: TaskId,
    mut offset: u64,
    end: u64,
    messages: &Messages,
) -> Result<u64, Over> {
    while offset < end {
        let output = match tail::piece(shared, task, offset).await {
            Ok(Some(output)) => output,
            Ok(None) => break,
            Err(status) => {
                messages.give(Err(status)).await;
                return Err(Over);
            }
        };
        offset += output.len() as u64;
        let task_id = task.to_string();
        send(messages, FunctionInvokeResponse { task_id, output, ..Default::default() }).await;
    }
    Ok(offset)
}

fn last_message(task: TaskId, ended: &Ended) -> FunctionInvokeResponse {
    let exit_code = match ended.status {
        TaskStatus::Complete => 0,
        _ => ended.failure.as_ref().map_or(1, |failure| failure.exit_code),
    };
    FunctionInvokeResponse {
        task_id: task.to_string(),
        output: String::new(),
        done: true,
        exit_code,
        result: ended.result.clone().unwrap_or_default(),
    }
}

/// How long a task whose client vanished goes on.
fn attach_grace(shared: &Shared) -> Duration {
    Duration::from_secs(shared.options.client_grace_seconds)
}

impl Shared {
    /// Cancels a task if no client comes back for it in time. A headless task goes on alone.
    pub(crate) fn watch_for_client(shared: &SharedRef, live: Arc<Live>) {
        if live.headless {
            return;
        }
        let shared = SharedRef::clone(shared);
        metal9_tasks::spawn_infallible("wait for a task's client", async move {
            let grace = attach_grace(&shared);
            let mut watch = live.watch();
            tokio::select! {
                () = tokio::time::sleep(grace) => {}
                _ = watch.wait_for(|snapshot| snapshot.ended.is_some()) => return,
                () = shared.shutdown.cancelled() => return,
            }
            if live.is_alone() {
                let message = format!("cancelled: its client was gone for {} s", grace.as_secs());
                let failure = Failure::new(FailureKind::Cancelled, message);
                if shared.driver.cancel(live.task, failure).await.is_err() {
                    tracing::debug!("the gateway is stopping");
                }
            }
        });
    }
}
