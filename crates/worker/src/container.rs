//! One container: prepared, loaded, called, ended. A task of its own, told what to do by the
//! manager and telling it everything as events.

mod allowed;
mod buckets;
mod call;
mod end;
mod failure;
mod gpu_memory;
mod in_step;
mod load;
mod prepare;
mod serve;
mod volumes;
mod workshop;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use metal9_juicefs::Access;
use metal9_sandbox::Network;
use metal9_types::{AllowList, AttemptId, ContainerId, EnvLock, Failure, ObjectId, Phase, StubId};
use tokio::sync::mpsc;

use crate::buckets::Bucket;
use crate::containment::Containment;
use crate::devices::Outfit;
use crate::event::Event;
use crate::gateway::Gateway;
use crate::output::Sink;
use crate::report::{Ended, Stream};
use crate::roots::Means;
use crate::runner::{CallFrame, CancelReason, Runner, ToRunner};
use crate::tunnel::{Open, Sockets};
use crate::volumes::{Mount, SharedDisk};
use crate::workspace::Workspaces;
pub(crate) use failure::exit_text;
pub(crate) use workshop::{Makings, Workshop};

/// Everything that makes a container.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ContainerSpec {
    pub(crate) stub: StubId,
    pub(crate) container_name: String,
    pub(crate) stub_type: String,
    /// Nothing for a stub without code of its own.
    pub(crate) object: Option<ObjectId>,
    pub(crate) handler: String,
    pub(crate) on_start: String,
    pub(crate) callback_url: String,
    /// In order; later entries win.
    pub(crate) env: Vec<(String, String)>,
    /// 0 for no limit.
    pub(crate) memory_mib: u64,
    pub(crate) cpu_millicores: u64,
    /// JSON, or nothing.
    pub(crate) inputs_schema: String,
    /// JSON, or nothing.
    pub(crate) outputs_schema: String,
    /// JSON.
    pub(crate) image_spec: String,
    /// Nothing if the image was not resolved for this platform yet.
    pub(crate) lock: Option<EnvLock>,
    pub(crate) timeout_seconds: i64,
    pub(crate) keep_warm_seconds: f32,
    /// Places in the worker's list of devices.
    pub(crate) devices: Vec<usize>,
    /// What the stub asks for; the worker's own policy may be stricter.
    pub(crate) network: Network,
    /// The networks that it may reach; nothing for all that the policy allows.
    pub(crate) allow_list: Option<AllowList>,
    pub(crate) volumes: Vec<Mount>,
    pub(crate) buckets: Vec<Bucket>,
    /// How to find out whether the volumes are on a disk that this machine sees.
    pub(crate) shared: SharedDisk,
    /// How to mount what they are on; nothing if that is not for this worker to do.
    pub(crate) juicefs: Option<Access>,
    /// Processes that serve requests; 0 if it is called.
    pub(crate) processes: u32,
    /// What making its root filesystem takes.
    pub(crate) means: Means,
}

impl ContainerSpec {
    /// Whether its code changes under its developer's hands.
    pub(crate) fn is_developed(&self) -> bool {
        self.stub_type.ends_with("/serve")
    }
}

#[cfg(test)]
impl ContainerSpec {
    /// A container with nothing in it.
    pub(crate) fn empty() -> Self {
        Self {
            stub: StubId(Default::default()),
            container_name: String::new(),
            stub_type: String::new(),
            object: None,
            handler: String::new(),
            on_start: String::new(),
            callback_url: String::new(),
            env: Vec::new(),
            memory_mib: 0,
            cpu_millicores: 0,
            inputs_schema: String::new(),
            outputs_schema: String::new(),
            image_spec: String::new(),
            lock: None,
            timeout_seconds: 0,
            keep_warm_seconds: 0.0,
            devices: Vec::new(),
            network: Network::Full,
            allow_list: None,
            volumes: Vec::new(),
            buckets: Vec::new(),
            shared: SharedDisk::default(),
            juicefs: None,
            processes: 0,
            means: Means::default(),
        }
    }
}

/// The arguments of a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Arguments {
    Here(Bytes),
    /// To be fetched from the gateway.
    Fetch,
}

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) attempt: AttemptId,
    pub(crate) task_id: String,
    pub(crate) arguments: Arguments,
    /// From when the user's code starts.
    pub(crate) timeout: Option<Duration>,
    pub(crate) job_token: String,
    /// 1 for the first.
    pub(crate) attempt_number: u32,
    /// It is over when the container could take one.
    pub(crate) warm_up: bool,
}

impl Call {
    /// What the runner is told to do, with these arguments.
    fn frame(&self, args: Bytes) -> ToRunner {
        ToRunner::Call(CallFrame {
            id: self.attempt.0,
            task_id: self.task_id.clone(),
            token: self.job_token.clone(),
            args,
            attempt: self.attempt_number,
        })
    }
}

/// A call and where its output goes.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) call: Call,
    pub(crate) sink: Sink,
}

/// What the manager tells a container.
#[derive(Debug)]
pub(crate) enum Command {
    Call(Box<Job>),
    /// This call, which serves requests, is over.
    Release(AttemptId),
    /// End this call, and the container with it.
    Cancel {
        attempt: AttemptId,
        reason: CancelReason,
    },
    /// End the container.
    Stop,
}

/// Where jobs reach the gateway: hosts and ports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses {
    pub(crate) grpc: (String, String),
    pub(crate) http: (String, String),
}

/// What all containers share.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) workshop: Workshop,
    pub(crate) gateway: Gateway,
    pub(crate) hostname: String,
    pub(crate) equipment: Outfit,
    pub(crate) containment: Arc<Containment>,
    /// Where containers that serve requests are reached.
    pub(crate) sockets: Sockets,
    /// Containers whose code may change.
    pub(crate) workspaces: Workspaces,
    pub(crate) events: mpsc::Sender<Event>,
}

/// A container that is to be started.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    pub(crate) spec: Box<ContainerSpec>,
    pub(crate) addresses: Addresses,
    pub(crate) tools: Arc<Tools>,
    pub(crate) commands: mpsc::Receiver<Command>,
    /// Whether it is being made once more, for what its volumes stand on was lost.
    pub(crate) anew: bool,
}

/// Why a container comes to its end.
#[derive(Debug)]
enum Halt {
    /// It was told to stop.
    Asked,
    /// It was told to stop before it could be asked nicely.
    Killed(String),
    /// Its call was cancelled or took too long; with the end to tell if nobody knows of it yet.
    Cancelled { attempt: AttemptId, reason: CancelReason, tell: Option<Ended> },
    /// Its call failed in a way that ends the container.
    Failed { attempt: AttemptId, ended: Ended },
    /// What its volumes stand on was lost before this call began: it is to be made once more.
    Anew(Box<Job>),
    /// It ended by itself while no call was running.
    Died(String),
}

impl Halt {
    fn failed(attempt: AttemptId, failure: Failure, phases: Vec<Phase>) -> Self {
        Self::Failed { attempt, ended: Ended::failed(failure, phases) }
    }
}

/// Runs a container from its first call to its end; the last event is [`Event::Gone`].
pub(crate) async fn run(container: Container, first: Job) {
    let (id, events) = (container.id, container.tools.events.clone());
    let life = AssertUnwindSafe(container.live(first)).catch_unwind();
    let reason = life.await.unwrap_or_else(|_| {
        tracing::error!(container = %id, "the container's task panicked");
        "the worker failed to run it".to_owned()
    });
    let _ = events.send(Event::Gone { container: id, reason }).await;
}

impl Container {
    /// Returns why it ended.
    async fn live(mut self, mut first: Job) -> String {
        loop {
            let mut phases = Vec::new();
            let mut runner = match self.prepare(&first, &mut phases).await {
                Ok(runner) => runner,
                Err(halt) => return self.end_unprepared(halt).await,
            };
            match self.serve(&mut runner, first, phases).await {
                Halt::Anew(job) => {
                    self.clear(runner).await;
                    self.anew = true;
                    first = *job;
                }
                halt => return self.end(runner, halt).await,
            }
        }
    }

    /// Loads the handler and runs calls until something ends the container.
    async fn serve(&mut self, runner: &mut Runner, first: Job, mut phases: Vec<Phase>) -> Halt {
        if let Err(halt) = self.load(runner, &first, &mut phases).await {
            return halt;
        }
        let open = self.open(runner);
        let answered = open.as_ref().map(Open::answered).unwrap_or_default();
        let mut workspace = self.open_workspace(runner, &first).await;
        self.tell(Event::Loaded(self.id)).await;
        let mut next = first;
        loop {
            let phases = std::mem::take(&mut phases);
            let called = match self.spec.processes {
                0 if next.call.warm_up => {
                    let attempt = next.call.attempt;
                    let ended = Ended { outcome: Ok(Bytes::new()), phases, reusable: true };
                    self.tell(Event::Ended { attempt, ended }).await;
                    Ok(())
                }
                0 => self.call(runner, next, phases).await,
                _ => {
                    let (workspace, answered) = (workspace.as_mut(), Arc::clone(&answered));
                    self.serve_requests(runner, next, phases, workspace, answered).await
                }
            };
            if let Err(halt) = called {
                return halt;
            }
            next = match self.idle(runner).await {
                Ok(job) => job,
                Err(halt) => return halt,
            };
        }
    }

    async fn tell(&self, event: Event) {
        // The manager outlives its containers, except at the very end.
        let _ = self.tools.events.send(event).await;
    }

    async fn progress(&self, job: &Job, text: &str) {
        let attempt = job.call.attempt;
        self.tell(Event::Progress { attempt, text: text.to_owned() }).await;
    }

    async fn say(&self, sink: &Sink, text: &str) {
        self.tools.say(sink, text).await;
    }
}

impl Tools {
    /// Tells the user something that no process of theirs has said.
    async fn say(&self, sink: &Sink, text: &str) {
        let text = if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
        let (attempt, stream) = (sink.attempt, Stream::Stderr);
        // The manager outlives its containers, except at the very end.
        let _ = self.events.send(Event::Output { attempt, stream, text, room: None }).await;
    }
}

/// A named duration.
fn phase(name: &str, duration: Duration) -> Phase {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    Phase { name: name.to_owned(), micros }
}

#[cfg(test)]
mod tests;
