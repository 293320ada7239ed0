//! A worker that says anything, to a real gateway over a real connection: nothing panics, the
//! scheduler's books balance after every message, and every call still ends when it is cancelled.

#![no_main]

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use metal9_proto::{worker as wire, worker_client};
use metal9_tasks::CancellationToken;
use metal9_testkit::{Call, Client, FakeWorker, Session, StubOptions};
use prost::Message as _;
use tokio::runtime::Runtime;
use tonic::Request;
use tonic::transport::Channel;
use wire::gateway_message::Message as FromGateway;
use wire::worker_message::Message as ToGateway;

/// Calls of one round; more are not made.
const CALLS: usize = 4;
/// How long an assignment is waited for: the scheduler may have none.
const ASSIGNED_WITHIN: Duration = Duration::from_millis(20);

/// How long the gateway may think about a stream of the worker's.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

#[derive(Arbitrary, Debug)]
struct Round {
    /// Running attempts that the worker claims to have.
    claims: Vec<(Which, Which)>,
    /// Containers that it claims to have, with their devices, and whether they are of the stub.
    containers: Vec<(Which, bool, Vec<u32>)>,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// Bytes that may be a message.
    Raw(Vec<u8>),
    /// A client calls, and the worker may be given the call.
    Call,
    Cancel(u8),
    Started(Which),
    Progress(Which, String),
    Output(Which, u8, bool, String),
    /// With a result, whether the container is reusable, and whether the start was left unsaid.
    Returned(Which, Vec<u8>, bool, bool),
    Failed(Which, Kind, i32),
    Pushed(Which),
    /// A stream of its own with a large result, of one attempt or of several.
    Push(Vec<(Which, Vec<u8>)>),
    /// A stream of its own with bytes for somebody who waits for a container, or for nobody.
    Tunnel(Vec<Piece>),
    ContainerGone(Which),
    BuildFinished(u8, String, String),
    Heartbeat(u64, f32),
    Hello,
    Leaving(u16),
    Reconnect,
}

/// What is said in a tunnel; only the first one's number counts.
#[derive(Arbitrary, Clone, Debug)]
struct Piece {
    tunnel: u64,
    refusal: String,
    data: Vec<u8>,
    consumed: u32,
    end: bool,
}

/// An attempt or container: one that was assigned, or any number.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Which {
    Assigned(u8),
    Any(u64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Kind {
    Exception,
    Crashed,
    Memory,
    Timeout,
    WorkerLost,
    Unheard,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Exception => "exception",
            Self::Crashed => "crashed",
            Self::Memory => "memory",
            Self::Timeout => "timeout",
            Self::WorkerLost => "worker_lost",
            Self::Unheard => "gremlins",
        }
    }
}

/// A gateway that goes on from round to round.
struct System {
    runtime: Runtime,
    _state: tempfile::TempDir,
    grpc: SocketAddr,
    /// For what the worker says outside of its session.
    channel: Channel,
    worker: FakeWorker,
    client: Client,
    stub: String,
}

fuzz_target!(|round: Round| {
    static SYSTEM: OnceLock<System> = OnceLock::new();
    let system = SYSTEM.get_or_init(|| System::start().expect("the system starts"));
    system.runtime.block_on(system.play(&round)).expect("every call ends");
});

impl System {
    fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let state = tempfile::tempdir()?;
        let (grpc, channel, worker, client, stub) = runtime.block_on(async {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let mut options = metal9_gateway::Options::new(state.path().to_owned());
            (options.grpc, options.http) = (any, any);
            let gateway = metal9_gateway::start(options).await?;
            let grpc = gateway.grpc_addr();
            let first = gateway.store().bootstrap().await?.context("there is a workspace")?;
            let ttl = Duration::from_secs(600);
            let join =
                gateway.store().create_join_token(first.workspace, "default", ttl, true).await?;
            let running = gateway.run(CancellationToken::new());
            metal9_tasks::spawn("gateway", metal9_tasks::OnError::Log, running);
            let worker = FakeWorker::join(grpc, &join).await?;
            let client = Client::connect(grpc, &first.token).await?;
            let mut session = worker.connect(grpc, &[], &[]).await?;
            let options = StubOptions { retries: 1, ..StubOptions::default() };
            let stub = session.while_building(client.stub(&options)).await?;
            let channel = Channel::from_shared(format!("http://{grpc}"))?.connect().await?;
            anyhow::Ok((grpc, channel, worker, client, stub))
        })?;
        Ok(Self { runtime, _state: state, grpc, channel, worker, client, stub })
    }

    async fn play(&self, round: &Round) -> Result<()> {
        let mut assigned = Vec::new();
        let mut calls: Vec<Call> = Vec::new();
        let mut session = self.connect(round, &assigned).await.ok();
        for step in &round.steps {
            match step {
                Step::Call if calls.len() < CALLS => {
                    calls.push(self.client.invoke(&self.stub, b"x", false).await?);
                    if let Some(session) = &mut session {
                        assigned.extend(assignment(session).await);
                    }
                }
                Step::Call => {}
                Step::Cancel(number) => {
                    if let Some(call) = calls.get(usize::from(*number)) {
                        self.client.stop(&call.task).await?;
                    }
                }
                // A refused Hello is as good an end as any.
                Step::Push(pieces) => self.push(pieces, &assigned).await?,
                Step::Tunnel(pieces) => self.tunnel(pieces).await?,
                Step::Reconnect => session = self.connect(round, &assigned).await.ok(),
                spoken => {
                    if let (Some(session), Some(message)) = (&session, message(spoken, &assigned)) {
                        // The gateway may have ended the session over what was said before.
                        let _ = session.say(message).await;
                    }
                }
            }
        }
        drop(session);
        for call in calls {
            self.client.stop(&call.task).await?;
            call.end().await?;
        }
        Ok(())
    }

    async fn connect(&self, round: &Round, assigned: &[wire::Assign]) -> Result<Session> {
        let attempts = round.claims.iter().take(8).map(|(attempt, container)| {
            let task_id = match attempt.of(assigned) {
                Some(assign) => assign.task_id.clone(),
                None => "0197a000-0000-7000-8000-000000000000".to_owned(),
            };
            let (attempt_id, container_id) =
                (attempt.attempt(assigned), container.container(assigned));
            wire::RunningAttempt { attempt_id, task_id, container_id }
        });
        let containers = round.containers.iter().take(8).map(|(which, of_stub, devices)| {
            let stub_id = if *of_stub { self.stub.clone() } else { String::new() };
            wire::LiveContainer {
                container_id: which.container(assigned),
                stub_id,
                devices: devices.clone(),
            }
        });
        let hello = wire::Hello {
            attempts: attempts.collect(),
            containers: containers.collect(),
            ..FakeWorker::hello()
        };
        self.worker.connect_with(self.grpc, hello).await
    }

    /// Whether the gateway takes it is its business; that it answers is what counts.
    async fn push(&self, pieces: &[(Which, Vec<u8>)], assigned: &[wire::Assign]) -> Result<()> {
        let chunks: Vec<_> = pieces
            .iter()
            .map(|(which, data)| wire::ResultChunk {
                attempt_id: which.attempt(assigned),
                data: data.clone().into(),
            })
            .collect();
        let request = self.authorized(tokio_stream::iter(chunks))?;
        let mut client = worker_client(self.channel.clone());
        let answer = client.push_result(request);
        let _ = tokio::time::timeout(ANSWERED_WITHIN, answer).await.context("no answer")?;
        Ok(())
    }

    async fn tunnel(&self, pieces: &[Piece]) -> Result<()> {
        let messages: Vec<_> = pieces
            .iter()
            .map(|piece| wire::TunnelMessage {
                tunnel_id: piece.tunnel,
                refusal: piece.refusal.clone(),
                data: piece.data.clone().into(),
                consumed: piece.consumed,
                end: piece.end,
            })
            .collect();
        let request = self.authorized(tokio_stream::iter(messages))?;
        let mut client = worker_client(self.channel.clone());
        let talk = async {
            if let Ok(answer) = client.tunnel(request).await {
                let mut stream = answer.into_inner();
                while let Ok(Some(_)) = stream.message().await {}
            }
        };
        tokio::time::timeout(ANSWERED_WITHIN, talk).await.context("no end of a tunnel")
    }

    /// A request of the worker's outside of its session.
    fn authorized<T>(&self, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        let bearer = format!("Bearer {}", self.worker.credential()).parse()?;
        request.metadata_mut().insert("authorization", bearer);
        Ok(request)
    }
}

/// The assignment that a call may have led to.
async fn assignment(session: &mut Session) -> Option<wire::Assign> {
    match tokio::time::timeout(ASSIGNED_WITHIN, session.next()).await {
        Ok(Ok(FromGateway::Assign(assign))) => Some(assign),
        _ => None,
    }
}

impl Which {
    fn of(self, assigned: &[wire::Assign]) -> Option<&wire::Assign> {
        match self {
            Self::Assigned(number) => assigned.get(usize::from(number) % assigned.len().max(1)),
            Self::Any(_) => None,
        }
    }

    fn attempt(self, assigned: &[wire::Assign]) -> u64 {
        self.of(assigned).map_or_else(|| self.number(), |assign| assign.attempt_id)
    }

    fn container(self, assigned: &[wire::Assign]) -> u64 {
        self.of(assigned).map_or_else(|| self.number(), |assign| assign.container_id)
    }

    fn number(self) -> u64 {
        match self {
            Self::Assigned(number) => number.into(),
            Self::Any(number) => number,
        }
    }
}

/// What the worker says; nothing if bytes are no message.
fn message(step: &Step, assigned: &[wire::Assign]) -> Option<ToGateway> {
    let finished =
        |which: Which| wire::Finished { attempt_id: which.attempt(assigned), ..Default::default() };
    Some(match step {
        Step::Raw(bytes) => wire::WorkerMessage::decode(bytes.as_slice()).ok()?.message?,
        Step::Started(which) => {
            ToGateway::AttemptStarted(wire::AttemptStarted { attempt_id: which.attempt(assigned) })
        }
        Step::Progress(which, text) => ToGateway::AttemptProgress(wire::AttemptProgress {
            attempt_id: which.attempt(assigned),
            text: text.clone(),
        }),
        Step::Output(which, sequence, stderr, text) => ToGateway::Output(wire::Output {
            attempt_id: which.attempt(assigned),
            sequence: (*sequence).into(),
            stream: if *stderr { 2 } else { 1 },
            text: text.clone(),
        }),
        Step::Returned(which, result, reusable, started_unsaid) => {
            ToGateway::Finished(wire::Finished {
                result: result.clone().into(),
                container_reusable: *reusable,
                started_unsaid: *started_unsaid,
                ..finished(*which)
            })
        }
        Step::Failed(which, kind, exit_code) => ToGateway::Finished(wire::Finished {
            failure: Some(wire::AttemptFailure {
                kind: kind.name().to_owned(),
                message: "failed".to_owned(),
                exit_code: *exit_code,
            }),
            ..finished(*which)
        }),
        Step::Pushed(which) => {
            ToGateway::Finished(wire::Finished { result_pushed: true, ..finished(*which) })
        }
        Step::ContainerGone(which) => ToGateway::ContainerGone(wire::ContainerGone {
            container_id: which.container(assigned),
            reason: "gone".to_owned(),
        }),
        Step::BuildFinished(build, error, python) => {
            ToGateway::BuildFinished(wire::BuildFinished {
                build_id: (*build).into(),
                error: error.clone(),
                lock: Some(wire::Lock { python: python.clone(), ..Default::default() }),
                ..Default::default()
            })
        }
        Step::Heartbeat(memory_used_mib, cpu_percent) => ToGateway::Heartbeat(wire::Heartbeat {
            memory_used_mib: *memory_used_mib,
            cpu_percent: *cpu_percent,
            ..Default::default()
        }),
        Step::Hello => ToGateway::Hello(FakeWorker::hello()),
        Step::Leaving(within) => {
            ToGateway::Leaving(wire::Leaving { within_millis: u64::from(*within) })
        }
        Step::Call | Step::Cancel(_) | Step::Push(_) | Step::Tunnel(_) | Step::Reconnect => {
            return None;
        }
    })
}
