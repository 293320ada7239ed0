//! A load for one gateway: as many workers as are asked for, each with a connection and a session of
//! its own, that send heartbeats and answer every call at once.
//!
//! `fleet GRPC JOIN_TOKEN WORKERS` prints one line of JSON when all are connected, and one whenever
//! a line comes in: how many are connected, how many calls they answered, and how many sessions
//! ended although nobody asked. It ends with its standard input.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use metal9_proto::worker as wire;
use metal9_proto::{PROTOCOL_VERSION, worker_client};
use metal9_testkit::FakeWorker;
use tokio::io::AsyncBufReadExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Streaming};
use wire::gateway_message::Message as FromGateway;
use wire::worker_message::Message as ToGateway;

/// Workers that connect at a time: a gateway that starts again is not met by all of them at once
/// either, since they wait for random times.
const CONNECTING: usize = 64;

/// Messages that may wait to be sent by one worker.
const QUEUE: usize = 4;

/// What every call returns: the pickle of nothing.
const RESULT: &[u8] = b"\x80\x04N.";

#[derive(Default)]
struct Counts {
    connected: AtomicU64,
    answered: AtomicU64,
    lost: AtomicU64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [grpc, token, workers] = arguments.as_slice() else {
        bail!("usage: fleet GRPC JOIN_TOKEN WORKERS");
    };
    let (grpc, workers): (SocketAddr, usize) = (grpc.parse()?, workers.parse()?);
    let counts = Arc::new(Counts::default());
    let begun = Instant::now();
    let slots = Arc::new(Semaphore::new(CONNECTING));
    let mut sessions = JoinSet::new();
    for number in 0..workers {
        let slot = Arc::clone(&slots).acquire_owned().await?;
        let (token, counts) = (token.clone(), Arc::clone(&counts));
        sessions.spawn(async move {
            let opened = open(grpc, &token).await;
            drop(slot);
            let ended = match opened {
                Ok((outgoing, incoming)) => {
                    counts.connected.fetch_add(1, Ordering::Relaxed);
                    let ended = serve(number, &outgoing, incoming, &counts).await;
                    counts.connected.fetch_sub(1, Ordering::Relaxed);
                    ended
                }
                Err(error) => Err(error),
            };
            counts.lost.fetch_add(1, Ordering::Relaxed);
            ended
        });
    }
    let _all = slots.acquire_many(u32::try_from(CONNECTING)?).await?;
    tell(&counts, begun)?;
    let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => match line? {
                Some(_) => tell(&counts, begun)?,
                None => return Ok(()),
            },
            Some(Ok(Err(error))) = sessions.join_next() => {
                writeln!(std::io::stderr(), "a session ended: {error:#}")?;
            }
        }
    }
}

fn tell(counts: &Counts, begun: Instant) -> Result<()> {
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (connected, answered, lost) =
        (read(&counts.connected), read(&counts.answered), read(&counts.lost));
    let seconds = begun.elapsed().as_secs_f64();
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{{\"connected\": {connected}, \"answered\": {answered}, \"lost\": {lost}, \
         \"seconds\": {seconds:.3}}}"
    )?;
    Ok(out.flush()?)
}

type Opened = (mpsc::Sender<wire::WorkerMessage>, Streaming<wire::GatewayMessage>);

/// Joins, connects and says hello.
async fn open(grpc: SocketAddr, token: &str) -> Result<Opened> {
    let channel = Channel::from_shared(format!("http://{grpc}"))?.tcp_nodelay(true);
    let channel = channel.connect().await.context("connect")?;
    let worker = FakeWorker::join_over(channel.clone(), token).await.context("join")?;
    let (outgoing, queued) = mpsc::channel(QUEUE);
    let hello = wire::Hello {
        protocol_version: PROTOCOL_VERSION,
        metal9_version: "load".into(),
        hostname: "load".into(),
        platform: "x86_64-linux".into(),
        cpu_millicores: 2000,
        memory_mib: 4096,
        runtimes: vec!["native".into()],
        ..Default::default()
    };
    say(&outgoing, ToGateway::Hello(hello)).await?;
    let mut request = Request::new(ReceiverStream::new(queued));
    let bearer = MetadataValue::try_from(format!("Bearer {}", worker.credential()))?;
    request.metadata_mut().insert("authorization", bearer);
    let incoming = worker_client(channel).session(request).await.context("session")?;
    Ok((outgoing, incoming.into_inner()))
}

async fn say(outgoing: &mpsc::Sender<wire::WorkerMessage>, message: ToGateway) -> Result<()> {
    Ok(outgoing.send(wire::WorkerMessage { message: Some(message) }).await?)
}

/// Heartbeats, and answers what comes, until the session ends.
async fn serve(
    number: usize,
    outgoing: &mpsc::Sender<wire::WorkerMessage>,
    mut incoming: Streaming<wire::GatewayMessage>,
    counts: &Counts,
) -> Result<()> {
    let first = incoming.message().await?.context("the session ended before it began")?;
    let Some(FromGateway::Welcome(welcome)) = first.message else {
        bail!("the gateway did not answer with Welcome");
    };
    let period = Duration::from_millis(welcome.heartbeat_millis.into());
    // Spread over the period, as those of real workers are.
    let phase = period.mul_f64((number % 1000) as f64 / 1000.0);
    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + phase, period);
    loop {
        tokio::select! {
            _ = beat.tick() => {
                say(outgoing, ToGateway::Heartbeat(wire::Heartbeat::default())).await?;
            }
            message = incoming.message() => {
                let message = message?.context("the gateway closed the session")?;
                answer(outgoing, message, counts).await?;
            }
        }
    }
}

async fn answer(
    outgoing: &mpsc::Sender<wire::WorkerMessage>,
    message: wire::GatewayMessage,
    counts: &Counts,
) -> Result<()> {
    match message.message {
        Some(FromGateway::Assign(assign)) => {
            let attempt_id = assign.attempt_id;
            say(outgoing, ToGateway::AttemptStarted(wire::AttemptStarted { attempt_id })).await?;
            let finished = wire::Finished {
                attempt_id,
                result: RESULT.into(),
                container_reusable: true,
                ..Default::default()
            };
            say(outgoing, ToGateway::Finished(finished)).await?;
            counts.answered.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        Some(FromGateway::BuildImage(build)) => {
            let lock = wire::Lock {
                platform: "x86_64-linux".into(),
                python: "3.11".into(),
                requirements: String::new(),
                macos: String::new(),
                root: None,
            };
            let finished = wire::BuildFinished {
                build_id: build.build_id,
                error: String::new(),
                lock: Some(lock),
                is_final: false,
            };
            say(outgoing, ToGateway::BuildFinished(finished)).await
        }
        Some(FromGateway::StopContainer(stop)) => {
            let gone = wire::ContainerGone {
                container_id: stop.container_id,
                reason: "it was stopped".into(),
            };
            say(outgoing, ToGateway::ContainerGone(gone)).await
        }
        _ => Ok(()),
    }
}
