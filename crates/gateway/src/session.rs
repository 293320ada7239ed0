//! The workers' side of the gateway: joining, the one session of each worker, and the streams for
//! what is too large for it.

mod assign;
mod convert;
mod grants;
mod inbound;
mod transfer;
mod volumes;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::Stream;
use metal9_core::{Input, WorkerHello};
use metal9_proto::worker as wire;
use metal9_store::{Actor, StoreError, WorkerRow};
use metal9_tasks::CancellationToken;
use metal9_types::{AttemptId, SessionId, StubId, TaskId, WorkerId};
use std::collections::{BTreeSet, HashMap};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use convert::failure_kind_name;

use crate::auth::{grpc_bearer, grpc_peer};
use crate::driver::{Command, stub_spec};
use crate::error::ApiError;
use crate::fleet::{Connection, Outbound, QUEUE};
use crate::macs;
use crate::shared::SharedRef;
use crate::yielding::yielding;

const REVOKED: ApiError =
    ApiError::Unauthenticated("the worker's credential is unknown or revoked");
/// A worker must introduce itself this quickly.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
use tonic::codegen::BoxStream;

/// What one session remembers.
pub(crate) struct Session {
    pub(crate) shared: SharedRef,
    pub(crate) worker: WorkerRow,
    pub(crate) session: SessionId,
    pub(crate) platform: metal9_types::Platform,
    /// How many accelerators the worker has.
    devices: usize,
    /// Whether it can mount a JuiceFS file system itself.
    mounts_juicefs: bool,
    /// The tasks of this worker's attempts.
    attempts: Mutex<HashMap<AttemptId, TaskId>>,
    /// When the scheduler was last told that the worker is there.
    heard: Mutex<Option<Instant>>,
    /// Results that came through PushResult and wait for their Finished.
    pub(crate) results: Arc<PushedResults>,
}

/// Bytes of one worker's results that may wait for their reports: the largest result of every call
/// that a large machine runs at a time.
const PUSHED_BYTES: usize = 1024 * 1024 * 1024;

/// Results that were too large for the session, until their report comes. A worker's results are
/// its own: another cannot answer in its place.
#[derive(Debug, Default)]
pub(crate) struct PushedResults {
    by_worker: Mutex<HashMap<WorkerId, HashMap<AttemptId, Bytes>>>,
}

impl PushedResults {
    /// Keeps a result; `false` if too many of the worker's wait already.
    pub(crate) fn put(&self, worker: WorkerId, attempt: AttemptId, result: Bytes) -> bool {
        let mut workers = self.by_worker.lock().unwrap_or_else(PoisonError::into_inner);
        let results = workers.entry(worker).or_default();
        let others = results.iter().filter(|(id, _)| **id != attempt);
        let waiting: usize = others.map(|(_, bytes)| bytes.len()).sum();
        let fits = waiting.saturating_add(result.len()) <= PUSHED_BYTES;
        if fits {
            results.insert(attempt, result);
        }
        fits
    }

    pub(crate) fn take(&self, worker: WorkerId, attempt: AttemptId) -> Option<Bytes> {
        let mut workers = self.by_worker.lock().unwrap_or_else(PoisonError::into_inner);
        let results = workers.get_mut(&worker)?;
        let result = results.remove(&attempt);
        if results.is_empty() {
            workers.remove(&worker);
        }
        result
    }
}

impl Session {
    pub(crate) fn remember(&self, attempt: AttemptId, task: TaskId) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.insert(attempt, task);
    }

    pub(crate) fn task_of(&self, attempt: AttemptId) -> Option<TaskId> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).get(&attempt).copied()
    }

    /// `true` if it is time to tell the scheduler again that the worker is there: a busy worker
    /// speaks far more often than the scheduler needs to hear of it.
    fn is_news(&self, often: Duration) -> bool {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let news = heard.is_none_or(|last| now.duration_since(last) >= often);
        if news {
            *heard = Some(now);
        }
        news
    }

    pub(crate) fn forget(&self, attempt: AttemptId) {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).remove(&attempt);
    }
}

/// The worker protocol's service.
#[derive(Clone)]
pub(crate) struct WorkerApi {
    shared: SharedRef,
    results: Arc<PushedResults>,
}

impl WorkerApi {
    pub(crate) fn new(shared: SharedRef) -> Self {
        Self { shared, results: Arc::default() }
    }

    /// Makes the stubs of a worker's containers known: after a restart nobody may have asked for
    /// them yet, and a container that is ending is counted with what its stub asks for.
    async fn define_stubs(&self, hello: &WorkerHello) -> Result<(), ApiError> {
        let stubs: BTreeSet<StubId> = hello.containers.iter().map(|(_, stub)| *stub).collect();
        for stub in stubs {
            if let Some(stub) = self.shared.store.stub(stub).await? {
                self.shared.driver.input(Input::DefineStub(stub_spec(&self.shared, &stub))).await?;
            }
        }
        Ok(())
    }

    async fn worker<T>(&self, request: &Request<T>) -> Result<WorkerRow, ApiError> {
        let credential = grpc_bearer(request.metadata())
            .ok_or(ApiError::Unauthenticated("a worker's credential is missing"))?;
        let worker = self.shared.store.authenticate_worker(credential).await?;
        if worker.is_none() {
            self.shared.intruders.note(grpc_peer(request.metadata()), "worker");
        }
        worker.ok_or(REVOKED)
    }

    /// Lets a worker in, unless its address has tried too often.
    async fn admit(
        &self,
        peer: &str,
        request: &wire::JoinRequest,
    ) -> Result<metal9_store::Joined, ApiError> {
        let shared = &self.shared;
        if !shared.joins.allows(peer, Instant::now()) {
            shared.intruders.note(peer, "join");
            let text = "too many joins from this address were refused; wait a minute";
            return Err(ApiError::Limit(text.into()));
        }
        let nobody = Actor::nobody(peer);
        let wire::JoinRequest { token, hostname, pool } = request;
        let joined = shared.store.by(&nobody).join_worker(token, hostname, pool).await;
        if matches!(joined, Err(StoreError::JoinRefused { .. })) {
            shared.joins.failed(peer, Instant::now());
            shared.intruders.note(peer, "join");
        }
        Ok(joined?)
    }
}

#[tonic::async_trait]
impl wire::worker_service_server::WorkerService for WorkerApi {
    async fn join(
        &self,
        request: Request<wire::JoinRequest>,
    ) -> Result<Response<wire::JoinResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let joined = self.admit(grpc_peer(&metadata), &request).await?;
        tracing::info!(worker = %joined.worker, hostname = request.hostname, "worker joined");
        Ok(Response::new(wire::JoinResponse {
            worker_id: joined.worker.to_string(),
            credential: joined.credential,
            pool: joined.pool,
        }))
    }

    async fn session(
        &self,
        request: Request<Streaming<wire::WorkerMessage>>,
    ) -> Result<Response<BoxStream<wire::GatewayMessage>>, Status> {
        let worker = self.worker(&request).await?;
        let (metadata, _, mut stream) = request.into_parts();
        let hello = read_hello(&mut stream).await?;
        let offer = convert::offer(&hello, &worker, &self.shared.options)
            .inspect_err(
                |reason| tracing::warn!(worker = %worker.id, reason, "a worker is refused"),
            )
            .map_err(Status::invalid_argument)?;
        let condition = hello.condition.clone().unwrap_or_default();
        let condition = convert::machine::condition(condition, offer.devices.len())
            .map_err(Status::invalid_argument)?;

        let (queue, queued) = mpsc::channel(QUEUE);
        let cut = CancellationToken::new();
        let isolation = hello.isolation.clone();
        let connection = Connection {
            worker: worker.id,
            pool: offer.pool.clone(),
            platform: offer.platform,
            macos: macs::macos(offer.platform, &offer.machine.os),
            root: offer.root,
            isolation,
            condition: condition.clone(),
            queue,
            cut: cut.clone(),
        };
        let session_id = self.shared.fleet.add(connection);
        // Looked at again, now that a revocation would cut the session.
        let known =
            self.shared.store.authenticate_worker(grpc_bearer(&metadata).unwrap_or_default());
        if !matches!(known.await, Ok(Some(again)) if again.id == worker.id) {
            self.shared.fleet.remove(session_id);
            return Err(REVOKED.into());
        }
        let session = Arc::new(Session {
            shared: SharedRef::clone(&self.shared),
            platform: offer.platform,
            devices: offer.devices.len(),
            mounts_juicefs: hello.mounts_juicefs,
            worker,
            session: session_id,
            attempts: Mutex::default(),
            heard: Mutex::default(),
            results: Arc::clone(&self.results),
        });
        let (worker, hostname) = (session.worker.id, offer.hostname.clone());
        let drain_until = session.worker.drain_until;
        let devices: Vec<_> = offer.devices.iter().map(metal9_types::Device::name).collect();
        tracing::info!(%worker, hostname, session = session_id.0, ?devices, "worker connected");
        let hello = match convert::worker_hello(hello, offer, &condition, worker, session_id) {
            Ok(hello) => hello,
            Err(reason) => {
                // A session that never began must not look like a worker that is there.
                self.shared.fleet.remove(session_id);
                return Err(Status::invalid_argument(reason));
            }
        };
        if !hello.interruption.is_empty() {
            tracing::warn!(%worker, what = hello.interruption, "a worker was interrupted");
        }
        for reattach in &hello.attempts {
            session.remember(reattach.attempt, reattach.task);
        }
        let told = async {
            self.define_stubs(&hello).await?;
            self.shared.driver.send(Command::Hello(Box::new(hello), drain_until)).await
        };
        if let Err(error) = told.await {
            self.shared.fleet.remove(session_id);
            return Err(error.into());
        }

        let outgoing = outbound(Arc::clone(&session), queued, cut.clone());
        metal9_tasks::spawn_infallible(
            "worker session, inbound",
            run_inbound(session, stream, cut),
        );
        Ok(Response::new(Box::pin(outgoing)))
    }

    async fn fetch_object(
        &self,
        request: Request<wire::FetchObjectRequest>,
    ) -> Result<Response<BoxStream<wire::Chunk>>, Status> {
        let worker = self.worker(&request).await?;
        transfer::fetch_object(&self.shared, &worker, &request.into_inner()).await
    }

    async fn fetch_arguments(
        &self,
        request: Request<wire::FetchArgumentsRequest>,
    ) -> Result<Response<BoxStream<wire::Chunk>>, Status> {
        let worker = self.worker(&request).await?.id;
        let attempt = AttemptId(request.into_inner().attempt_id);
        transfer::fetch_arguments(&self.shared, worker, attempt).await
    }

    async fn volume_manifest(
        &self,
        request: Request<wire::VolumeManifestRequest>,
    ) -> Result<Response<BoxStream<wire::VolumeManifestPart>>, Status> {
        let worker = self.worker(&request).await?;
        volumes::manifest(&self.shared, &worker, &request.into_inner()).await
    }

    async fn fetch_volume_file(
        &self,
        request: Request<wire::FetchVolumeFileRequest>,
    ) -> Result<Response<BoxStream<wire::Chunk>>, Status> {
        let worker = self.worker(&request).await?;
        volumes::fetch(&self.shared, &worker, &request.into_inner()).await
    }

    async fn push_volume_file(
        &self,
        request: Request<Streaming<wire::VolumeFilePiece>>,
    ) -> Result<Response<wire::PushVolumeFileResponse>, Status> {
        let worker = self.worker(&request).await?;
        volumes::push(&self.shared, &worker, request.into_inner()).await
    }

    async fn remove_volume_file(
        &self,
        request: Request<wire::RemoveVolumeFileRequest>,
    ) -> Result<Response<wire::RemoveVolumeFileResponse>, Status> {
        let worker = self.worker(&request).await?;
        volumes::remove(&self.shared, &worker, request.into_inner()).await
    }

    async fn push_result(
        &self,
        request: Request<Streaming<wire::ResultChunk>>,
    ) -> Result<Response<wire::PushResultResponse>, Status> {
        let worker = self.worker(&request).await?;
        transfer::push_result(&self.results, worker.id, request.into_inner()).await
    }

    async fn tunnel(
        &self,
        request: Request<Streaming<wire::TunnelMessage>>,
    ) -> Result<Response<BoxStream<wire::TunnelMessage>>, Status> {
        let worker = self.worker(&request).await?;
        self.shared.endpoints.tunnels.accept(worker.id, request.into_inner()).await
    }

    async fn rotate(
        &self,
        request: Request<wire::RotateRequest>,
    ) -> Result<Response<wire::RotateResponse>, Status> {
        let worker = self.worker(&request).await?;
        let actor = Actor::worker(worker.workspace, worker.id, grpc_peer(request.metadata()));
        let issued = self.shared.store.by(&actor).issue_credential(worker.id).await;
        let credential = issued.map_err(ApiError::from)?;
        Ok(Response::new(wire::RotateResponse { credential }))
    }

    async fn confirm(
        &self,
        request: Request<wire::ConfirmRequest>,
    ) -> Result<Response<wire::ConfirmResponse>, Status> {
        self.worker(&request).await?;
        Ok(Response::new(wire::ConfirmResponse {}))
    }
}

async fn read_hello(stream: &mut Streaming<wire::WorkerMessage>) -> Result<wire::Hello, Status> {
    let first = tokio::time::timeout(HELLO_TIMEOUT, stream.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the worker did not introduce itself"))??;
    match first.and_then(|message| message.message) {
        Some(wire::worker_message::Message::Hello(hello)) => {
            if hello.protocol_version == metal9_proto::PROTOCOL_VERSION {
                return Ok(hello);
            }
            Err(Status::failed_precondition(format!(
                "the worker speaks protocol version {}, the gateway version {}; run the same \
                 version of metal9 on both",
                hello.protocol_version,
                metal9_proto::PROTOCOL_VERSION,
            )))
        }
        _ => Err(Status::invalid_argument("a session begins with Hello")),
    }
}

/// What is queued, in order; puts the messages of assignments together on the way.
fn outbound(
    session: Arc<Session>,
    mut queued: mpsc::Receiver<Outbound>,
    cut: CancellationToken,
) -> impl Stream<Item = Result<wire::GatewayMessage, Status>> + Send {
    // Tells the reading side of the end too: half a session is of no use.
    let tell = cut.clone().drop_guard();
    yielding(move |messages| async move {
        let _tell = tell;
        loop {
            let outbound = tokio::select! {
                () = cut.cancelled() => break,
                outbound = queued.recv() => outbound,
            };
            let Some(outbound) = outbound else { break };
            let message = match outbound {
                Outbound::Message(message) => Some(*message),
                Outbound::Assign(assignment) => session.assign(assignment).await,
            };
            let Some(message) = message else { continue };
            let message = wire::GatewayMessage { message: Some(message) };
            tokio::select! {
                () = cut.cancelled() => break,
                () = messages.give(Ok(message)) => {}
            }
        }
    })
}

async fn run_inbound(
    session: Arc<Session>,
    mut stream: Streaming<wire::WorkerMessage>,
    cut: CancellationToken,
) {
    let shared = SharedRef::clone(&session.shared);
    let reason = loop {
        tokio::select! {
            // What a worker says after it was shut out does not count.
            biased;
            () = cut.cancelled() => break "cut".to_owned(),
            () = shared.shutdown.cancelled() => break "the gateway is stopping".to_owned(),
            message = stream.message() => match message {
                Ok(Some(message)) => {
                    // Receiving may wait for the disk.
                    let received = tokio::select! {
                        () = cut.cancelled() => break "cut".to_owned(),
                        () = shared.shutdown.cancelled() => break "the gateway is stopping".to_owned(),
                        received = session.receive(message) => received,
                    };
                    if let Err(error) = received {
                        break error.to_string();
                    }
                }
                Ok(None) => break "the worker closed it".to_owned(),
                Err(status) => break status.message().to_owned(),
            },
        }
    };
    cut.cancel();
    let worker = session.worker.id;
    tracing::info!(%worker, session = session.session.0, reason, "session ended");
    shared.fleet.remove(session.session);
    shared.builds.session_ended(session.session);
    let input = Input::WorkerDisconnected { worker, session: session.session };
    if shared.driver.input(input).await.is_err() {
        tracing::debug!("the gateway is stopping");
    }
}
