//! Accepting calls: checked, admitted, made durable, and handed to the scheduler.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metal9_proto::MAX_MESSAGE_BYTES;
use metal9_store::{Accepted, NewTask, StubRow};
use metal9_types::{StubId, TaskId, TaskStatus, WorkspaceId};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::admission::Claim;
use crate::auth::Caller;
use crate::deployed::Callable;
use crate::driver::{Command, stub_spec, task_spec};
use crate::endpoints;
use crate::error::ApiError;
use crate::hub::Live;
use crate::metrics;
use crate::shared::{Shared, SharedRef};
use crate::validate::shown;

/// When a queue that is full may have room again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The longest request id that is kept.
const MAX_REQUEST_ID: usize = 200;

/// A call that somebody wants to make.
pub(crate) struct NewCall {
    /// What is called; its workspace is the caller's.
    pub(crate) stub: Callable,
    /// The arguments, as the runner reads them.
    pub(crate) arguments: Bytes,
    /// `true` if it goes on although nobody follows it.
    pub(crate) headless: bool,
    /// The client's own name for it: a second call under the same name is the first.
    pub(crate) request_id: Option<String>,
}

/// What became of a call that somebody wanted to make.
pub(crate) enum Call {
    /// It is a task now.
    New(Unattended),
    /// It was one before.
    Known(TaskId),
}

impl Call {
    /// The task.
    pub(crate) fn task(&self) -> TaskId {
        match self {
            Self::New(fresh) => fresh.task,
            Self::Known(task) => *task,
        }
    }
}

/// Refuses arguments that no call may carry.
///
/// # Errors
/// If they are too large.
pub(crate) fn require_small(arguments: &[u8]) -> Result<(), ApiError> {
    if arguments.len() <= MAX_MESSAGE_BYTES {
        return Ok(());
    }
    Err(ApiError::Limit(format!(
        "the arguments are {:.1} MiB; a call may carry {} MiB\nhint: put large data into a volume or \
         a file of the project, which the function reads",
        arguments.len() as f64 / 1_048_576.0,
        MAX_MESSAGE_BYTES / (1024 * 1024),
    )))
}

/// A task that was accepted and that nobody follows yet. If its client has gone meanwhile, the task
/// is treated like any other whose client went.
pub(crate) struct Unattended {
    shared: SharedRef,
    task: TaskId,
    live: Option<Arc<Live>>,
}

impl Unattended {
    /// Somebody follows it now.
    pub(crate) fn attend(mut self) -> Arc<Live> {
        self.live.take().unwrap_or_else(|| unreachable!("it is taken here only"))
    }
}

impl Drop for Unattended {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            Shared::watch_for_client(&self.shared, live);
        }
    }
}

/// Makes a task of a call.
///
/// # Errors
/// If it is over a limit, or cannot be made durable.
pub(crate) async fn accept(shared: &SharedRef, call: NewCall) -> Result<Call, ApiError> {
    let NewCall { stub, arguments, headless, request_id } = call;
    let stub = stub.into_stub();
    if stub.config.is_developed() {
        return endpoints::put(shared, &stub, arguments).await.map(Call::Known);
    }
    let most = usize::try_from(stub.config.serving.max_pending).unwrap_or(usize::MAX);
    if most > 0 {
        let id = stub.id;
        let pending = shared.driver.query(move |core, _| core.calls_of(id)).await?;
        if pending >= most {
            return Err(ApiError::Exhausted {
                text: format!(
                    "{pending} calls wait or run, and max_pending_tasks is {most}\n\
                     hint: wait for some to end, or ask for more in the decorator"
                ),
                retry_after: RETRY_AFTER,
            });
        }
    }
    let bytes = arguments.len() as u64;
    require_small(&arguments)?;
    if request_id.as_ref().is_some_and(|id| id.len() > MAX_REQUEST_ID) {
        let message = format!("x-beta9-request-id is longer than {MAX_REQUEST_ID} characters");
        return Err(ApiError::Invalid(message));
    }
    let claim = match admit(shared, stub.workspace, bytes) {
        Ok(claim) => claim,
        Err(refused) => {
            // What was accepted before is no new call, however often it is asked for.
            let known = match &request_id {
                Some(id) => shared.store.task_of_request(stub.workspace, id).await?,
                None => None,
            };
            ::metrics::counter!(metrics::CALLS_REFUSED).increment(u64::from(known.is_none()));
            return known.map(Call::Known).ok_or(refused);
        }
    };
    let task = NewTask {
        id: TaskId(Uuid::now_v7()),
        workspace: stub.workspace,
        stub: stub.id,
        arguments,
        headless,
        request_id,
    };
    // A client that goes away takes its request's future with it. What is accepted must reach the
    // scheduler all the same, so this is done beside the request.
    let (answer, answered) = oneshot::channel();
    let accepting = accept_task(SharedRef::clone(shared), claim, stub, task);
    metal9_tasks::spawn_infallible("accept a call", async move {
        // Nobody may be there any more to take it.
        let _ = answer.send(accepting.await);
    });
    answered.await.unwrap_or(Err(ApiError::Unavailable("the gateway is stopping")))
}

async fn accept_task(
    shared: SharedRef,
    claim: Claim,
    stub: Arc<StubRow>,
    new: NewTask,
) -> Result<Call, ApiError> {
    let task = new.id;
    // The entry is there before the task is durable, so that nothing it says can be missed.
    let pending = TaskStatus::Pending;
    let live = shared.hub.open(claim, task, new.workspace, new.headless, pending, 0);
    shared.arguments.put(task, &new.arguments);
    match shared.store.accept_task(new).await {
        Ok(Accepted::New) => {}
        Ok(Accepted::Duplicate(known)) => {
            shared.hub.forget(task);
            shared.arguments.take(task);
            return Ok(Call::Known(known));
        }
        Err(error) => {
            shared.hub.forget(task);
            shared.arguments.take(task);
            return Err(error.into());
        }
    }
    metal9_faults::point("accepted").await;
    ::metrics::counter!(metrics::TASKS_ACCEPTED).increment(1);
    let (stub, spec) = (Box::new(stub_spec(&shared, &stub)), task_spec(task, &stub));
    shared.driver.send(Command::Submit(stub, spec)).await?;
    Ok(Call::New(Unattended { shared, task, live: Some(live) }))
}

/// Asks whether there is room for one more call.
fn admit(shared: &Shared, workspace: WorkspaceId, bytes: u64) -> Result<Claim, ApiError> {
    shared.disk.room_for("the call", bytes)?;
    shared.admission.task(workspace, bytes)
}

/// The stub of this id, whosoever it is; nothing if there is none.
pub(crate) async fn find_stub(shared: &Shared, id: &str) -> Result<Option<Arc<StubRow>>, ApiError> {
    let Ok(id) = StubId::from_str(id) else { return Ok(None) };
    Ok(shared.store.stub(id).await?)
}

/// The caller's stub of this id.
pub(crate) async fn own_stub(
    shared: &Shared,
    caller: &Caller,
    id: &str,
) -> Result<Arc<StubRow>, ApiError> {
    let stub = find_stub(shared, id).await?.filter(|stub| stub.workspace == caller.workspace);
    stub.ok_or_else(|| ApiError::NotFound { kind: "stub", id: shown(id) })
}
