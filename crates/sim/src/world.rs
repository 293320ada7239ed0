//! The simulated fleet.

mod event;
mod gateway;
mod ledger;
mod life;
mod link;
mod settle;
mod standing;
mod sweep;
mod trace;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use metal9_core::StubSpec;
use metal9_types::{
    Device, GpuRequest, Machine, Moment, Offer, OnBattery, Platform, Resources, Runtime, SessionId,
    StubId, TaskStatus, Vendor, WorkerId,
};
use uuid::Uuid;

use self::event::{Event, Queue, Timer};
use self::gateway::Gateway;
use self::ledger::{Broken, Ledger, TaskFacts};
use self::link::Session;
use self::trace::Trace;
use self::worker::Worker;
use crate::draw;
use crate::script::{Command, Network, Script, StubLine, WorkerLine, counted};

/// What ids of each kind begin with, so that no two are the same.
const WORKERS: u128 = 0xa000 << 64;
const STUBS: u128 = 0x5000 << 64;
const TASKS: u128 = 0x7000 << 64;
const WORKSPACES: u128 = 0xc000 << 64;

/// A deliberate mistake, to see that the simulation finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The gateway never tells a worker to end an idle container.
    ForgetsToStopContainers,
    /// The gateway takes every report of an end for the end of the task.
    BelievesEveryEnd,
    /// The gateway tells a client the end of its task before it is on disk.
    TellsBeforeItIsDurable,
    /// A worker keeps what its welcome names as not wanted.
    KeepsWhatIsNotWanted,
    /// The gateway keeps the session of a worker it has counted as lost.
    KeepsSessionsOfLostWorkers,
}

/// How a world is watched.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The scheduler's books are checked after every so many inputs.
    pub check_every: u64,
    /// Every line of what happens is kept.
    pub trace: bool,
    /// How long a `settle` may take before what is left counts as stuck.
    pub patience: Duration,
    /// A mistake that is made on purpose.
    pub flaw: Option<Flaw>,
}

impl Default for Options {
    fn default() -> Self {
        let patience = Duration::from_secs(2 * 3600);
        Self { check_every: 1, trace: false, patience, flaw: None }
    }
}

/// Something that should never happen, and did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("after {at:?}: {rule} does not hold for {subject}")]
pub struct Violation {
    /// When, since the start of the run.
    pub at: Duration,
    /// The rule.
    pub rule: String,
    /// What broke it.
    pub subject: String,
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Tasks made durable.
    pub accepted: u64,
    /// Ends that clients were told, by state.
    pub ends: BTreeMap<&'static str, u64>,
    /// Attempts given to workers.
    pub attempts: u64,
    /// Failed attempts that were followed by another.
    pub retries: u64,
    /// Faults of workers and links.
    pub faults: u64,
    /// Restarts of the gateway.
    pub restarts: u64,
    /// Workers counted as lost.
    pub workers_lost: u64,
    /// Sessions opened.
    pub sessions: u64,
    /// Messages that arrived.
    pub messages: u64,
    /// Things the scheduler was told.
    pub inputs: u64,
    /// Those that had no effect.
    pub ignored: u64,
    /// Writes to the store.
    pub writes: u64,
    /// Attempts that ran at a time with another of the same task.
    pub doubles: u64,
    /// How long the run took on the virtual clock.
    pub time: Duration,
    /// A number that is another one if anything went differently.
    pub digest: u64,
}

/// How a task went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskReport {
    /// Its name.
    pub name: String,
    /// Its stub's name.
    pub stub: String,
    /// Its workspace's name.
    pub workspace: String,
    /// What its client was told, and when.
    pub ended: Option<(Duration, TaskStatus)>,
    /// When the user's code first began.
    pub begun: Option<Duration>,
    /// Attempts given to workers.
    pub attempts: u32,
}

/// A stub and what its calls do.
#[derive(Debug)]
struct Stub {
    line: StubLine,
    spec: StubSpec,
}

/// The simulated fleet: clients, a gateway with its store, a network and workers.
#[derive(Debug)]
pub struct World {
    options: Options,
    seed: u64,
    network: Network,
    now: Moment,
    queue: Queue,
    /// How much later than its script the run is.
    behind: Duration,
    gateway: Gateway,
    workers: Vec<Worker>,
    sessions: BTreeMap<SessionId, Session>,
    next_session: u64,
    stubs: Vec<Stub>,
    workspaces: Vec<String>,
    worker_names: BTreeMap<String, usize>,
    stub_names: BTreeMap<String, usize>,
    task_names: BTreeMap<String, usize>,
    ledger: Ledger,
    trace: Trace,
    summary: Summary,
    failure: Option<Violation>,
}

impl World {
    /// An empty world at the beginning of time.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut world = Self {
            options,
            seed: 0,
            network: Network::default(),
            now: Moment::ZERO,
            queue: Queue::default(),
            behind: Duration::ZERO,
            gateway: Gateway::new(),
            workers: Vec::new(),
            sessions: BTreeMap::new(),
            next_session: 0,
            stubs: Vec::new(),
            workspaces: Vec::new(),
            worker_names: BTreeMap::new(),
            stub_names: BTreeMap::new(),
            task_names: BTreeMap::new(),
            ledger: Ledger::default(),
            trace: Trace::new(options.trace),
            summary: Summary::default(),
            failure: None,
        };
        world.queue.push(Moment(1_000_000), Event::Sweep);
        world
    }

    /// Runs a script to its end, or to the first violation.
    ///
    /// # Errors
    /// The violation.
    pub fn run(&mut self, script: &Script) -> Result<(), Violation> {
        for step in &script.steps {
            self.run_until(self.behind + step.at);
            self.apply(&step.command);
            if self.failure.is_some() {
                break;
            }
        }
        self.run_until(self.behind + script.end);
        self.failure.clone().map_or(Ok(()), Err)
    }

    /// What the run has come to so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let time = self.now.since(Moment::ZERO);
        Summary { time, doubles: self.ledger.doubles, ..self.summary.clone() }
    }

    /// The lines told so far, if they were to be kept.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.trace.lines
    }

    /// How every task went.
    #[must_use]
    pub fn tasks(&self) -> Vec<TaskReport> {
        let since = |moment: Moment| moment.since(Moment::ZERO);
        let report = |facts: &TaskFacts| TaskReport {
            name: facts.name.clone(),
            stub: self.stubs[facts.stub].line.name.clone(),
            workspace: self.workspaces[facts.workspace].clone(),
            ended: facts.told.map(|(at, status)| (since(at), status)),
            begun: facts.begun.map(since),
            attempts: facts.assigned,
        };
        self.ledger.tasks.iter().map(report).collect()
    }

    /// Lets time pass up to a moment since the beginning.
    fn run_until(&mut self, until: Duration) {
        let until = Moment::ZERO.after(until);
        while self.failure.is_none() {
            let queued = self.queue.next_at();
            let deadline = self.gateway.deadline().map(|at| at.max(self.now));
            let next = match (queued, deadline) {
                (Some(queued), Some(deadline)) => queued.min(deadline),
                (one, other) => match one.or(other) {
                    Some(next) => next,
                    None => break,
                },
            };
            if next > until {
                break;
            }
            self.now = next;
            if queued == Some(next) {
                if let Some(event) = self.queue.pop() {
                    self.happen(event);
                }
            } else {
                self.on_deadline();
            }
        }
        if self.failure.is_none() {
            self.now = self.now.max(until);
        }
    }

    fn happen(&mut self, event: Event) {
        if let Event::Timer { worker, life, .. } = event
            && self.workers[worker].frozen
            && self.workers[worker].life == life
        {
            self.workers[worker].held.push(event);
            return;
        }
        match event {
            Event::Up { session, message } => self.arrives_up(session, message),
            Event::Down { session, message } => self.arrives_down(session, message),
            Event::Reset { session } => self.on_reset(session),
            Event::WorkerGivesUp { session, trouble } => self.gives_up(session, trouble, true),
            Event::GatewayGivesUp { session, trouble } => self.gives_up(session, trouble, false),
            Event::Timer { worker, life, timer } => self.on_timer(worker, life, timer),
            Event::Relief { worker, fault, number } => self.on_relief(worker, fault, number),
            Event::Commit { epoch } => self.on_commit(epoch),
            Event::Submit { task } => self.on_submit(task),
            Event::Cancel { task } => self.on_cancel(task),
            Event::GatewayUp => self.on_gateway_up(),
            Event::Sweep => self.on_sweep(),
        }
    }

    /// Something happens. What names a thing that is not there does nothing, so that a script can
    /// be shrunk.
    fn apply(&mut self, command: &Command) {
        if self.trace.is_on() {
            let sign = if matches!(command, Command::Note(_)) { "" } else { "> " };
            self.trace.lines.push(format!("{sign}{command}"));
        }
        match command {
            Command::Note(_) => {}
            Command::Seed(seed) => self.seed = *seed,
            Command::Network(network) => self.network = *network,
            Command::Worker(line) => self.add_worker(line),
            Command::Stub(line) => self.add_stub(line),
            Command::Submit { task, count, stub, workspace } => {
                for index in 0..*count {
                    self.submit(counted(task, index), stub, workspace);
                }
            }
            Command::Cancel { task } => {
                if let Some(&task) = self.task_names.get(task) {
                    self.on_cancel(task);
                }
            }
            Command::Restart { lasts, power } => self.restart(*lasts, *power),
            Command::Settle => self.settle(),
            Command::Explain { task } => self.explain(task),
            Command::Show => self.show(),
            Command::Heal { worker: None } => {
                for worker in 0..self.workers.len() {
                    self.heal(worker);
                }
            }
            Command::Heal { worker: Some(name) }
            | Command::Start { worker: name }
            | Command::Cut { worker: name, .. }
            | Command::Partition { worker: name, .. }
            | Command::Freeze { worker: name, .. }
            | Command::Crash { worker: name, .. }
            | Command::PowerCut { worker: name, .. }
            | Command::Leave { worker: name, .. }
            | Command::Cordon { worker: name }
            | Command::Uncordon { worker: name }
            | Command::Drain { worker: name, .. } => {
                if let Some(&worker) = self.worker_names.get(name) {
                    self.happen_to(worker, command);
                }
            }
        }
    }

    fn happen_to(&mut self, worker: usize, command: &Command) {
        match command {
            Command::Heal { .. } => self.heal(worker),
            Command::Start { .. } => self.turn_on(worker),
            Command::Cut { lasts, .. } => self.cut(worker, *lasts),
            Command::Partition { way, lasts, .. } => self.partition(worker, *way, *lasts),
            Command::Freeze { lasts, .. } => self.freeze(worker, *lasts),
            Command::Crash { lasts, .. } => self.turn_off(worker, *lasts, true),
            Command::PowerCut { lasts, .. } => self.turn_off(worker, *lasts, false),
            Command::Leave { lasts, .. } => self.leave(worker, *lasts),
            Command::Cordon { .. } => self.cordon(worker, None),
            Command::Uncordon { .. } => self.uncordon(worker),
            Command::Drain { within, .. } => self.cordon(worker, Some(*within)),
            _ => {}
        }
    }

    fn add_worker(&mut self, line: &WorkerLine) {
        if self.worker_names.contains_key(&line.name) {
            return;
        }
        let index = self.workers.len();
        let id = WorkerId(id_of(WORKERS, index));
        self.workers.push(Worker::new(line.name.clone(), id, offer(line)));
        self.worker_names.insert(line.name.clone(), index);
        self.set_timer(index, Duration::ZERO, Timer::Dial);
    }

    fn add_stub(&mut self, line: &StubLine) {
        if self.stub_names.contains_key(&line.name) {
            return;
        }
        let index = self.stubs.len();
        let spec = StubSpec {
            stub: StubId(id_of(STUBS, index)),
            resources: Resources { cpu_millicores: line.cpu, memory_mib: line.mem },
            gpu: GpuRequest::parse(&line.gpu, line.count),
            pool: line.pool.clone(),
            runtime: None,
            root: metal9_types::RootSource::Host,
            allow_list: false,
            keep_warm: line.keep,
            name: line.name.clone(),
            priority: line.priority,
            max_containers: line.most,
            min_containers: 0,
            pace: None,
            image: "image".to_owned(),
            object: format!("object of {}", line.name),
        };
        self.stubs.push(Stub { line: line.clone(), spec });
        self.stub_names.insert(line.name.clone(), index);
    }

    fn submit(&mut self, name: String, stub: &str, workspace: &str) {
        let Some(&stub) = self.stub_names.get(stub) else { return };
        if self.task_names.contains_key(&name) {
            return;
        }
        let workspace = match self.workspaces.iter().position(|known| known == workspace) {
            Some(index) => index,
            None => {
                self.workspaces.push(workspace.to_owned());
                self.workspaces.len() - 1
            }
        };
        let task = self.ledger.tasks.len();
        self.task_names.insert(name.clone(), task);
        self.ledger.tasks.push(TaskFacts {
            name,
            stub,
            workspace,
            accepted: None,
            cancelled: false,
            assigned: 0,
            spared: 0,
            number: 0,
            begun: None,
            returned: BTreeSet::new(),
            told: None,
        });
        self.gateway.rows.push(None);
        self.on_submit(task);
    }

    fn broken(&mut self, result: Result<(), Broken>) {
        if let Err((rule, subject)) = result {
            self.fail(rule, subject);
        }
    }

    /// A rule is broken; the first time counts.
    fn fail(&mut self, rule: &str, subject: String) {
        let at = self.now.since(Moment::ZERO);
        self.failure.get_or_insert_with(|| Violation { at, rule: rule.to_owned(), subject });
    }

    fn mix(&mut self, value: u64) {
        self.summary.digest = draw::mix(self.summary.digest ^ self.now.0, value);
    }
}

/// The id of the thing at this place.
fn id_of(kind: u128, index: usize) -> Uuid {
    Uuid::from_u128(kind | index as u128)
}

/// The place of the thing of this id.
fn index_of(id: Uuid) -> usize {
    // The lower half holds nothing else.
    (id.as_u128() as u64) as usize
}

fn offer(line: &WorkerLine) -> Offer {
    Offer {
        hostname: line.name.clone(),
        pool: line.pool.clone(),
        platform: match line.platform.as_str() {
            "mac" => Platform::Aarch64Darwin,
            "arm" => Platform::Aarch64Linux,
            _ => Platform::X86_64Linux,
        },
        capacity: Resources { cpu_millicores: line.cpu, memory_mib: line.mem },
        machine: Machine::default(),
        devices: line.gpus.iter().map(|name| device(name)).collect(),
        on_battery: OnBattery::Run,
        runtimes: vec![match line.runtime.as_str() {
            "runc" => Runtime::Runc,
            "runsc" => Runtime::Runsc,
            _ => Runtime::Native,
        }],
        root: metal9_types::RootSource::Host,
        allow_lists: false,
        pythons: vec!["3.11".to_owned()],
        labels: BTreeMap::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// `M3-Max` and the like are Apple's; everything else is NVIDIA's.
fn device(name: &str) -> Device {
    let (family, variant) = name.split_once('-').unwrap_or((name, ""));
    let apple = metal9_types::GpuSelector::parse(name).is_some_and(|name| name.is_apple());
    Device {
        vendor: if apple { Vendor::Apple } else { Vendor::Nvidia },
        family: if apple { family } else { name }.to_owned(),
        variant: if apple { variant } else { "" }.to_owned(),
        cores: 10,
        memory_mib: 24_000,
        slots: 1,
        simulated: false,
    }
}
