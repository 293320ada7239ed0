//! A worker whose jobs a test plays by hand.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use metal9_proto::worker as wire;
use metal9_proto::{PROTOCOL_VERSION, worker_client};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Streaming};
use wire::gateway_message::Message as FromGateway;
use wire::worker_message::Message as ToGateway;

use crate::wait::within;

/// Messages that may wait to be sent.
const QUEUE: usize = 1024;

/// A worker that has joined.
#[derive(Clone, Debug)]
pub struct FakeWorker {
    /// Its id.
    pub id: String,
    credential: String,
}

/// An open session of a [`FakeWorker`].
#[derive(Debug)]
pub struct Session {
    /// What the gateway answered to Hello.
    pub welcome: wire::Welcome,
    /// Why no image can be had on the machines it is asked to resolve one for.
    pub unresolvable: Option<String>,
    /// `true` if no image can be had on itself either.
    pub unbuildable: bool,
    /// Macs that it was asked to resolve an image for, by their oldest macOS.
    pub resolved_for: Vec<String>,
    platform: String,
    sender: mpsc::Sender<wire::WorkerMessage>,
    stream: Streaming<wire::GatewayMessage>,
}

impl FakeWorker {
    /// Joins with a join token.
    ///
    /// # Errors
    /// When the gateway refuses.
    pub async fn join(grpc: std::net::SocketAddr, token: &str) -> Result<Self> {
        Self::join_over(Channel::from_shared(format!("http://{grpc}"))?.connect().await?, token)
            .await
    }

    /// The same over a connection that is there.
    ///
    /// # Errors
    /// When the gateway refuses.
    pub async fn join_over(channel: Channel, token: &str) -> Result<Self> {
        let request =
            wire::JoinRequest { token: token.into(), hostname: "fake".into(), pool: String::new() };
        let joined = worker_client(channel).join(request).await?.into_inner();
        Ok(Self { id: joined.worker_id, credential: joined.credential })
    }

    /// What it shows to the gateway.
    #[must_use]
    pub fn credential(&self) -> &str {
        &self.credential
    }

    /// Opens a session, saying that these attempts (with their tasks and containers) go on.
    ///
    /// # Errors
    /// When the gateway refuses.
    pub async fn connect(
        &self,
        grpc: std::net::SocketAddr,
        attempts: &[(u64, &str, u64)],
        containers: &[(u64, &str)],
    ) -> Result<Session> {
        let running =
            attempts.iter().map(|(attempt_id, task, container_id)| wire::RunningAttempt {
                attempt_id: *attempt_id,
                task_id: (*task).into(),
                container_id: *container_id,
            });
        let live = containers.iter().map(|(container_id, stub)| wire::LiveContainer {
            container_id: *container_id,
            stub_id: (*stub).into(),
            ..Default::default()
        });
        let hello = wire::Hello {
            attempts: running.collect(),
            containers: live.collect(),
            ..Self::hello()
        };
        self.connect_with(grpc, hello).await
    }

    /// What a worker with two cores and nothing under way says first.
    #[must_use]
    pub fn hello() -> wire::Hello {
        wire::Hello {
            protocol_version: PROTOCOL_VERSION,
            metal9_version: "test".into(),
            hostname: "fake".into(),
            platform: "x86_64-linux".into(),
            cpu_millicores: 2000,
            memory_mib: 4096,
            runtimes: vec!["native".into()],
            ..Default::default()
        }
    }

    /// Opens a session with a Hello of the test's own.
    ///
    /// # Errors
    /// When the gateway refuses.
    pub async fn connect_with(
        &self,
        grpc: std::net::SocketAddr,
        hello: wire::Hello,
    ) -> Result<Session> {
        self.connect_over(Channel::from_shared(format!("http://{grpc}"))?.connect().await?, hello)
            .await
    }

    /// The same over a connection that is there.
    ///
    /// # Errors
    /// When the gateway refuses.
    pub async fn connect_over(&self, channel: Channel, hello: wire::Hello) -> Result<Session> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let platform = hello.platform.clone();
        sender.send(wire::WorkerMessage { message: Some(ToGateway::Hello(hello)) }).await?;
        let mut request = Request::new(ReceiverStream::new(receiver));
        let bearer = MetadataValue::try_from(format!("Bearer {}", self.credential))?;
        request.metadata_mut().insert("authorization", bearer);
        let mut stream = worker_client(channel).session(request).await?.into_inner();
        let first = within("Welcome", stream.message()).await??;
        let Some(FromGateway::Welcome(welcome)) = first.and_then(|message| message.message) else {
            bail!("the gateway did not answer with Welcome")
        };
        let (unresolvable, resolved_for) = (None, Vec::new());
        Ok(Session {
            welcome,
            unresolvable,
            unbuildable: false,
            resolved_for,
            platform,
            sender,
            stream,
        })
    }
}

impl Session {
    /// Says something.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn say(&self, message: ToGateway) -> Result<()> {
        Ok(self.sender.send(wire::WorkerMessage { message: Some(message) }).await?)
    }

    /// The next message that a test has to answer: image builds are answered here, pings and
    /// acknowledgements of output skipped.
    ///
    /// # Errors
    /// When the session ends.
    pub async fn next(&mut self) -> Result<FromGateway> {
        loop {
            let message = within("a message of the gateway", self.stream.message()).await??;
            let message = message.context("the session ended")?.message;
            match message.context("an empty message")? {
                FromGateway::BuildImage(build) => self.built(build.build_id).await?,
                FromGateway::ResolveImage(resolve) => self.resolved(resolve).await?,
                FromGateway::Ping(_) | FromGateway::OutputAck(_) => {}
                other => return Ok(other),
            }
        }
    }

    async fn built(&self, build_id: u64) -> Result<()> {
        let error = self.unresolvable.clone().filter(|_| self.unbuildable).unwrap_or_default();
        let lock = wire::Lock {
            platform: self.platform.clone(),
            python: "3.11".into(),
            ..Default::default()
        };
        let is_final = !error.is_empty();
        let finished = wire::BuildFinished { build_id, error, lock: Some(lock), is_final };
        self.say(ToGateway::BuildFinished(finished)).await
    }

    /// Answers whether an image can be had on the machines it is asked for.
    async fn resolved(&mut self, resolve: wire::ResolveImage) -> Result<()> {
        self.resolved_for.push(resolve.macos.clone());
        if let Some(reason) = &self.unresolvable {
            let finished = wire::BuildFinished {
                build_id: resolve.build_id,
                error: reason.clone(),
                is_final: true,
                ..Default::default()
            };
            return self.say(ToGateway::BuildFinished(finished)).await;
        }
        let lock = wire::Lock {
            platform: resolve.platform,
            python: "3.11".into(),
            requirements: String::new(),
            macos: resolve.macos,
            root: None,
        };
        let finished = wire::BuildFinished {
            build_id: resolve.build_id,
            lock: Some(lock),
            ..Default::default()
        };
        self.say(ToGateway::BuildFinished(finished)).await
    }

    /// Runs something that needs an image built meanwhile.
    ///
    /// # Errors
    /// When either fails.
    pub async fn while_building<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = work => done,
            message = self.next() => bail!("unexpected: {message:?}"),
        }
    }

    /// The next assignment.
    ///
    /// # Errors
    /// When something else comes.
    pub async fn assignment(&mut self) -> Result<wire::Assign> {
        match self.next().await? {
            FromGateway::Assign(assign) => Ok(assign),
            other => bail!("expected an assignment, got {other:?}"),
        }
    }

    /// Says that the user's code runs.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn started(&self, attempt_id: u64) -> Result<()> {
        self.say(ToGateway::AttemptStarted(wire::AttemptStarted { attempt_id })).await
    }

    /// Says what a job wrote.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn output(&self, attempt_id: u64, sequence: u64, text: &str) -> Result<()> {
        let stream = wire::OutputStream::Stdout.into();
        let output = wire::Output { attempt_id, sequence, stream, text: text.into() };
        self.say(ToGateway::Output(output)).await
    }

    /// Says that a job returned.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn returned(&self, attempt_id: u64, result: &'static [u8]) -> Result<()> {
        let finished = wire::Finished {
            attempt_id,
            result: Bytes::from_static(result),
            container_reusable: true,
            ..Default::default()
        };
        self.say(ToGateway::Finished(finished)).await
    }

    /// Says that a job failed.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn failed(&self, attempt_id: u64, kind: &str, exit_code: i32) -> Result<()> {
        let failure = wire::AttemptFailure {
            kind: kind.into(),
            message: format!("failed with {kind}"),
            exit_code,
        };
        let finished = wire::Finished { attempt_id, failure: Some(failure), ..Default::default() };
        self.say(ToGateway::Finished(finished)).await
    }
}
