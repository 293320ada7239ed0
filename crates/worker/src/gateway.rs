//! The connection to the gateway, and the calls beside the session.

mod volumes;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use metal9_proto::worker as wire;
use metal9_proto::worker::worker_service_client::WorkerServiceClient;
use metal9_types::{AttemptId, ObjectId};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use crate::backoff::Backoff;
use crate::dial::Dial;
pub(crate) use volumes::RemoteFile;

/// How often a call beside the session is tried while the gateway cannot be reached.
const TRIES: u32 = 8;

/// Bytes of a result in one message.
const PIECE_BYTES: usize = 1024 * 1024;

/// The largest arguments a call can have: what the client API takes in one message.
const ARGUMENTS_BYTES: usize = metal9_proto::MAX_FRAME_BYTES;

/// The credential is not one that can be sent.
#[derive(Debug, thiserror::Error)]
#[error("the credential is not one that can be sent")]
pub(crate) struct CredentialError;

/// Why something could not be fetched from the gateway or sent to it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    #[error("the gateway refused: {} ({:?})", .0.message(), .0.code())]
    Refused(Status),
    #[error("the gateway could not be reached: {} ({:?})", .0.message(), .0.code())]
    Unreachable(Status),
    #[error("the gateway named more than {0} files")]
    TooMany(usize),
    #[error("a file could not be read")]
    Volume(#[source] metal9_volume::VolumeError),
    #[error("the gateway sent more than {0} bytes")]
    TooLarge(usize),
    #[error("could not write `{}`", path.display())]
    File { path: std::path::PathBuf, source: std::io::Error },
}

impl TransferError {
    fn of(status: Status) -> Self {
        match status.code() {
            // A connection that breaks in the middle of a call is told as `Internal` too.
            Code::Unavailable
            | Code::Unknown
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Internal => Self::Unreachable(status),
            _ => Self::Refused(status),
        }
    }
}

/// How long a short call may take.
const ANSWER: Duration = Duration::from_secs(10);

fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER);
    request
}

/// Adds the worker's credential to every call. Clones share the credential, which can change.
#[derive(Clone)]
pub(crate) struct Bearer(Arc<RwLock<MetadataValue<Ascii>>>);

impl Bearer {
    fn value(credential: &str) -> Result<MetadataValue<Ascii>, CredentialError> {
        let mut bearer: MetadataValue<Ascii> =
            format!("Bearer {credential}").parse().map_err(|_| CredentialError)?;
        bearer.set_sensitive(true);
        Ok(bearer)
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let credential = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        request.metadata_mut().insert("authorization", credential);
        Ok(request)
    }
}

/// The gateway, to a worker that has joined. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub(crate) struct Gateway {
    client: WorkerServiceClient<InterceptedService<Channel, Bearer>>,
    /// On a connection of its own: what is tunnelled must not hold up the session.
    tunnels: WorkerServiceClient<InterceptedService<Channel, Bearer>>,
    bearer: Bearer,
    rotation: Arc<Notify>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}

impl Gateway {
    pub(crate) fn new(dial: &Dial, credential: &str) -> Result<Self, CredentialError> {
        let bearer = Bearer(Arc::new(RwLock::new(Bearer::value(credential)?)));
        let connection = || InterceptedService::new(dial.connect_lazy(), bearer.clone());
        Ok(Self {
            client: metal9_proto::worker_client(connection()),
            tunnels: metal9_proto::worker_client(connection()),
            rotation: Arc::default(),
            bearer,
        })
    }

    /// From now on, calls are made with this credential.
    pub(crate) fn use_credential(&self, credential: &str) -> Result<(), CredentialError> {
        let bearer = Bearer::value(credential)?;
        *self.bearer.0.write().unwrap_or_else(PoisonError::into_inner) = bearer;
        Ok(())
    }

    /// The gateway wants the worker to have a new credential.
    pub(crate) fn want_rotation(&self) {
        self.rotation.notify_one();
    }

    /// Resolves when the gateway wants the worker to have a new credential.
    pub(crate) async fn rotation_wanted(&self) {
        self.rotation.notified().await;
    }

    /// A new credential; the present one stays good until the new one is used.
    pub(crate) async fn rotate(&self) -> Result<String, Status> {
        let answer = self.client.clone().rotate(within(wire::RotateRequest {})).await?;
        Ok(answer.into_inner().credential)
    }

    /// Uses the present credential.
    pub(crate) async fn confirm(&self) -> Result<(), Status> {
        self.client.clone().confirm(within(wire::ConfirmRequest {})).await.map(drop)
    }

    /// The same; gives the time that the gateway's answer was made by its own clock, if it says so.
    pub(crate) async fn confirm_with_date(&self) -> Result<Option<SystemTime>, Status> {
        let answer = self.client.clone().confirm(within(wire::ConfirmRequest {})).await?;
        let date = answer.metadata().get("date").and_then(|date| date.to_str().ok());
        Ok(date.and_then(|date| httpdate::parse_http_date(date).ok()))
    }

    /// Opens a session whose messages come from `outgoing`.
    pub(crate) async fn session(
        &self,
        outgoing: impl futures::Stream<Item = wire::WorkerMessage> + Send + 'static,
    ) -> Result<Streaming<wire::GatewayMessage>, Status> {
        Ok(self.client.clone().session(outgoing).await?.into_inner())
    }

    /// Opens a tunnel; the first of the messages names it.
    pub(crate) async fn tunnel(
        &self,
        outgoing: impl futures::Stream<Item = wire::TunnelMessage> + Send + 'static,
    ) -> Result<Streaming<wire::TunnelMessage>, Status> {
        Ok(self.tunnels.clone().tunnel(outgoing).await?.into_inner())
    }

    /// Writes the bytes of a code archive to a file.
    pub(crate) async fn fetch_object(
        &self,
        object: ObjectId,
        path: &Path,
    ) -> Result<(), TransferError> {
        retry(|| self.try_fetch_object(object, path)).await
    }

    async fn try_fetch_object(&self, object: ObjectId, path: &Path) -> Result<(), TransferError> {
        let failed = |source| TransferError::File { path: path.to_owned(), source };
        let request = wire::FetchObjectRequest { object_id: object.to_string() };
        let answer = self.client.clone().fetch_object(request).await.map_err(TransferError::of)?;
        let mut chunks = answer.into_inner();
        let mut file = tokio::fs::File::create(path).await.map_err(failed)?;
        while let Some(chunk) = chunks.message().await.map_err(TransferError::of)? {
            file.write_all(&chunk.data).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)
    }

    /// The arguments of an attempt.
    pub(crate) async fn fetch_arguments(&self, attempt: AttemptId) -> Result<Bytes, TransferError> {
        retry(|| self.try_fetch_arguments(attempt)).await
    }

    async fn try_fetch_arguments(&self, attempt: AttemptId) -> Result<Bytes, TransferError> {
        let request = wire::FetchArgumentsRequest { attempt_id: attempt.0 };
        let answer =
            self.client.clone().fetch_arguments(request).await.map_err(TransferError::of)?;
        let mut chunks = answer.into_inner();
        let mut arguments = BytesMut::new();
        while let Some(chunk) = chunks.message().await.map_err(TransferError::of)? {
            if arguments.len() + chunk.data.len() > ARGUMENTS_BYTES {
                return Err(TransferError::TooLarge(ARGUMENTS_BYTES));
            }
            arguments.extend_from_slice(&chunk.data);
        }
        Ok(arguments.freeze())
    }

    /// Sends a result that is too large for a report.
    pub(crate) async fn push_result(
        &self,
        attempt: AttemptId,
        result: &Bytes,
    ) -> Result<(), TransferError> {
        retry(|| self.try_push_result(attempt, result)).await
    }

    async fn try_push_result(
        &self,
        attempt: AttemptId,
        result: &Bytes,
    ) -> Result<(), TransferError> {
        let pieces: Vec<wire::ResultChunk> = (0..result.len())
            .step_by(PIECE_BYTES)
            .map(|start| wire::ResultChunk {
                attempt_id: attempt.0,
                data: result.slice(start..result.len().min(start + PIECE_BYTES)),
            })
            .collect();
        let pieces = tokio_stream::iter(pieces);
        self.client.clone().push_result(pieces).await.map_err(TransferError::of).map(drop)
    }
}

/// Tries again while the gateway cannot be reached, for about half a minute.
async fn retry<T, F>(attempt: impl Fn() -> F) -> Result<T, TransferError>
where
    F: Future<Output = Result<T, TransferError>>,
{
    let mut backoff = Backoff::new(Duration::from_secs(10));
    for _ in 1..TRIES {
        match attempt().await {
            Err(TransferError::Unreachable(status)) => {
                tracing::warn!(%status, "the gateway could not be reached, trying again");
                tokio::time::sleep(backoff.next()).await;
            }
            other => return other,
        }
    }
    attempt().await
}
