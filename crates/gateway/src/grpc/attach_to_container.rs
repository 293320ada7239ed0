//! AttachToContainer: what a container writes, as it is written, and how it ended; in the other
//! direction changes of its code, if it was started to take any.

use std::sync::Arc;
use std::time::Duration;

use metal9_proto::beta9::gateway as wire;
use metal9_types::{ContainerId, TaskId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};
use wire::container_stream_message::Payload;
use wire::{AttachToContainerResponse, ContainerStreamMessage};

use super::{changes, tail};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::hub::Live;
use crate::serves::{Session, exit_code};
use crate::shared::{Shared, SharedRef};
use crate::validate::shown;
use crate::yielding::{Yielder, yielding};

pub(super) type AttachStream = BoxStream<AttachToContainerResponse>;
type Messages = Yielder<Result<AttachToContainerResponse, Status>>;

/// How long a client may take to say which container it means.
const NAMED_WITHIN: Duration = Duration::from_secs(30);
/// How often a client that hears nothing is told that there is nothing.
const QUIET: Duration = Duration::from_secs(10);
/// How often it is looked at what a container without a call does.
const LOOK: Duration = Duration::from_millis(250);
/// Bytes of earlier output that a client is shown of a container that runs already.
const EARLIER: u64 = 64 * 1024;
/// Remarks on changes that may wait for a client that reads slowly.
const NOTES: usize = 64;

/// Follows a container for a client.
pub(super) async fn attach(
    shared: &SharedRef,
    request: Request<Streaming<ContainerStreamMessage>>,
) -> Result<Response<AttachStream>, ApiError> {
    let caller = shared.grpc_client(request.metadata()).await?;
    let open = shared.admission.stream(caller.workspace)?;
    let shared = SharedRef::clone(shared);
    let messages = request.into_inner();
    let mut leave = caller.leave.clone();
    Ok(Response::new(Box::pin(yielding(move |out| async move {
        let _open = open;
        tokio::select! {
            biased;
            error = leave.over() => out.give(Err(error.into())).await,
            () = shared.shutdown.cancelled() => {
                out.give(Err(Status::unavailable("the gateway is stopping"))).await;
            }
            () = serve(&shared, &caller, messages, &out) => {}
        }
    }))))
}

/// What a client is attached to.
enum Target {
    /// Code that is tried out.
    Session(Arc<Session>),
    /// Any other container.
    Container(ContainerId),
}

async fn serve(
    shared: &SharedRef,
    caller: &Caller,
    mut messages: Streaming<ContainerStreamMessage>,
    out: &Messages,
) {
    let name = match tokio::time::timeout(NAMED_WITHIN, name(&mut messages)).await {
        Ok(Ok(name)) => name,
        Ok(Err(status)) => return out.give(Err(status)).await,
        Err(_) => {
            let status = Status::deadline_exceeded("no container was named");
            return out.give(Err(status)).await;
        }
    };
    let target = match find(shared, caller, &name).await {
        Ok(Some(target)) => target,
        Ok(None) => {
            let text = format!("Container not found: `{}`\n", shown(&name));
            return end(out, text, 1).await;
        }
        Err(error) => return out.give(Err(error.into())).await,
    };
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let (notes, mut noted) = mpsc::channel(NOTES);
    let session = match &target {
        Target::Session(session) => Some(Arc::clone(session)),
        Target::Container(_) => None,
    };
    let _attached = session.as_ref().map(Session::attach);
    metal9_tasks::spawn_infallible("changes of code", {
        let shared = SharedRef::clone(shared);
        async move {
            tokio::select! {
                () = changes::take(&shared, session.as_deref(), messages, &notes) => {
                    // The client may go on listening.
                    stop.cancelled().await;
                }
                () = stop.cancelled() => {}
            }
        }
    });
    let mut view = View { shared, out, noted: &mut noted };
    let followed = match target {
        Target::Session(session) => view.session(&session).await,
        Target::Container(container) => view.container(container).await,
    };
    if let Err(status) = followed {
        out.give(Err(status)).await;
    }
}

/// The container that a client names first.
async fn name(messages: &mut Streaming<ContainerStreamMessage>) -> Result<String, Status> {
    loop {
        match messages.message().await? {
            Some(ContainerStreamMessage { payload: Some(Payload::AttachRequest(request)) }) => {
                return Ok(request.container_id);
            }
            Some(ContainerStreamMessage { payload: None }) => {}
            Some(_) => return Err(Status::invalid_argument("the container is to be named first")),
            None => return Err(Status::invalid_argument("no container was named")),
        }
    }
}

async fn find(shared: &Shared, caller: &Caller, name: &str) -> Result<Option<Target>, ApiError> {
    let Ok(container) = ContainerId::from_api_name(name) else { return Ok(None) };
    if let Some(session) = shared.serves.of(container) {
        let own = session.workspace == caller.workspace;
        return Ok(own.then_some(Target::Session(session)));
    }
    let view = shared.driver.query(move |core, _| core.container(container)).await?;
    let Some(view) = view else { return Ok(None) };
    let stub = shared.store.stub(view.stub).await?;
    let own = stub.is_some_and(|stub| stub.workspace == caller.workspace);
    Ok(own.then_some(Target::Container(container)))
}

async fn end(out: &Messages, output: String, exit_code: i32) {
    out.give(Ok(AttachToContainerResponse { output, done: true, exit_code })).await;
}

/// A client that looks on.
struct View<'a> {
    shared: &'a Shared,
    out: &'a Messages,
    noted: &'a mut mpsc::Receiver<String>,
}

impl View<'_> {
    async fn tell(&self, output: String) {
        self.out.give(Ok(AttachToContainerResponse { output, ..Default::default() })).await;
    }

    /// Tells what a log has up to here.
    async fn output(&self, task: TaskId, offset: &mut u64, end: u64) -> Result<(), Status> {
        while *offset < end {
            let Some(piece) = tail::piece(self.shared, task, *offset).await? else { break };
            *offset += piece.len() as u64;
            self.tell(piece).await;
        }
        Ok(())
    }

    /// Follows code that is tried out from its first word to its end.
    async fn session(&mut self, session: &Session) -> Result<(), Status> {
        let mut offset = 0;
        let ended = match self.shared.hub.get(session.hold) {
            Some(live) => self.follow(&live, &mut offset).await?,
            None => None,
        };
        // It may have ended before the client came; what it wrote is still there.
        let last = self.shared.store.logs().len(session.hold).await.unwrap_or(0);
        self.output(session.hold, &mut offset, last).await?;
        let code = ended.or_else(|| session.exit_code()).unwrap_or(1);
        end(self.out, String::new(), code).await;
        Ok(())
    }

    /// Tells what a call writes until it ends; its exit code then.
    async fn follow(&mut self, live: &Live, offset: &mut u64) -> Result<Option<i32>, Status> {
        let mut watch = live.watch();
        loop {
            let snapshot = watch.borrow_and_update().clone();
            self.output(live.task, offset, snapshot.log_end).await?;
            if let Some(ended) = snapshot.ended {
                return Ok(Some(exit_code(ended.failure.as_ref())));
            }
            tokio::select! {
                changed = watch.changed() => if changed.is_err() { return Ok(None) },
                Some(note) = self.noted.recv() => self.tell(note).await,
                () = tokio::time::sleep(QUIET) => self.tell(String::new()).await,
            }
        }
    }

    /// Follows a container from call to call until it ends.
    async fn container(&mut self, container: ContainerId) -> Result<(), Status> {
        let mut code = 0;
        let mut last = None;
        let mut first = true;
        loop {
            let view = self.shared.driver.query(move |core, _| core.container(container)).await?;
            let Some(view) = view else {
                let text = "the container has ended\n".to_owned();
                end(self.out, text, code).await;
                return Ok(());
            };
            let task = view.task.filter(|task| last != Some(*task));
            let live = task.and_then(|task| self.shared.hub.get(task));
            let Some(live) = live else {
                first = false;
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    Some(note) = self.noted.recv() => self.tell(note).await,
                }
                continue;
            };
            last = Some(live.task);
            let mut offset = if first { self.earlier(&live).await? } else { 0 };
            first = false;
            code = self.follow(&live, &mut offset).await?.unwrap_or(code);
        }
    }

    /// From where a call that runs already is told: at the beginning of a line, if it has any.
    async fn earlier(&self, live: &Live) -> Result<u64, Status> {
        let end = live.watch().borrow().log_end;
        let mut offset = end.saturating_sub(EARLIER);
        if offset == 0 {
            return Ok(0);
        }
        let pieces = self.shared.store.logs().pieces(live.task, 0, usize::MAX);
        let pieces = pieces.await.map_err(|error| Status::internal(error.to_string()))?;
        offset = pieces.iter().map(|it| it.end_offset).find(|at| *at >= offset).unwrap_or(end);
        Ok(offset)
    }
}
