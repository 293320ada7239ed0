//! How many decisions the scheduler makes per second.
//!
//! A decision is one task that is assigned and finishes. The fleet and the work are made from a
//! fixed seed: workers of many sizes in several pools, some with accelerators; many stubs of mixed
//! sizes in several workspaces; queues that are kept full. Time is virtual, so only the scheduler's
//! own work is measured. The books are checked at the end.
//!
//! ```text
//! cargo run --release -p metal9-core --example decisions -- --workers 10000 --queued 100000
//! ```

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it measures the scheduler from outside and tells a person"
)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use metal9_core::{
    Action, AttemptReport, Config, Core, Input, StubSpec, TaskSpec, WorkerHello, check,
};
use metal9_types::{
    AttemptId, CallOutcome, ContainerId, Device, GpuRequest, Machine, Moment, Offer, OnBattery,
    Platform, Resources, Runtime, SessionId, StubId, TaskId, TaskStatus, Vendor, WorkerId,
    WorkspaceId,
};
use uuid::Uuid;

const WORKSPACES: u64 = 20;
const STUBS: u64 = 1000;

/// A small generator of numbers that are the same on every machine (SplitMix64).
struct Seed(u64);

impl Seed {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap_or(0)]
    }

    fn uuid(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.next(), self.next())
    }
}

/// What the measurement is asked for.
struct Options {
    workers: u64,
    queued: usize,
    decisions: u64,
    json: bool,
}

impl Options {
    fn read() -> Result<Self, String> {
        let mut options =
            Self { workers: 10_000, queued: 100_000, decisions: 1_000_000, json: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            if name == "--json" {
                options.json = true;
                continue;
            }
            let value = arguments.next().and_then(|value| value.parse::<u64>().ok());
            let value = value.ok_or_else(|| format!("{name} needs a number"))?;
            match name.as_str() {
                "--workers" => options.workers = value,
                "--queued" => options.queued = usize::try_from(value).unwrap_or(usize::MAX),
                "--decisions" => options.decisions = value,
                _ => return Err(format!("there is no option {name}")),
            }
        }
        Ok(options)
    }
}

/// What the harness knows of a stub.
#[derive(Clone, Copy)]
struct StubFacts {
    stub: StubId,
    workspace: WorkspaceId,
    start: Duration,
    call: Duration,
}

/// How long inputs of one kind took.
#[derive(Clone, Copy, Default)]
struct Spent {
    count: u64,
    time: Duration,
}

/// Something that will happen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Started(AttemptId),
    Finished(AttemptId),
    Gone(ContainerId),
    Alive(usize),
}

struct Bench {
    core: Core,
    seed: Seed,
    now: Moment,
    stubs: Vec<StubFacts>,
    index: BTreeMap<StubId, usize>,
    workers: Vec<(WorkerId, SessionId)>,
    agenda: BinaryHeap<Reverse<(Moment, u64, Event)>>,
    sequence: u64,
    decisions: u64,
    /// Stubs whose queues are one task shorter than they should be.
    wanted: Vec<usize>,
    fresh: u64,
    assigned: u64,
    spent: BTreeMap<&'static str, Spent>,
    actions: Vec<Action>,
}

impl Bench {
    fn new() -> Self {
        Self {
            core: Core::new(Config::default()),
            seed: Seed(9),
            now: Moment(1_000_000),
            stubs: Vec::new(),
            index: BTreeMap::new(),
            workers: Vec::new(),
            agenda: BinaryHeap::new(),
            sequence: 0,
            decisions: 0,
            wanted: Vec::new(),
            fresh: 0,
            assigned: 0,
            spent: BTreeMap::new(),
            actions: Vec::new(),
        }
    }

    fn input(&mut self, name: &'static str, input: Input) {
        let began = Instant::now();
        let mut actions = std::mem::take(&mut self.actions);
        let _ = self.core.handle(self.now, input, &mut actions);
        let took = began.elapsed();
        let spent = self.spent.entry(name).or_default();
        spent.count += 1;
        spent.time += took;
        for action in actions.drain(..) {
            self.carry_out(action);
        }
        self.actions = actions;
    }

    fn later(&mut self, delay: Duration, event: Event) {
        self.sequence += 1;
        self.agenda.push(Reverse((self.now.after(delay), self.sequence, event)));
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Assign { attempt, stub, fresh, .. } => {
                let Some(&index) = self.index.get(&stub) else { return };
                let facts = self.stubs[index];
                self.assigned += 1;
                self.wanted.push(index);
                self.fresh += u64::from(fresh);
                let start = if fresh { facts.start } else { Duration::ZERO };
                // Calls of one stub differ by up to half.
                let call = facts.call.mul_f64(0.75 + self.seed.below(500) as f64 / 1000.0);
                self.later(start, Event::Started(attempt));
                self.later(start + call, Event::Finished(attempt));
            }
            Action::StopContainer { container, .. } => {
                self.later(Duration::from_millis(30), Event::Gone(container));
            }
            Action::Transition(transition) if transition.status == TaskStatus::Complete => {
                self.decisions += 1;
            }
            _ => {}
        }
    }

    fn connect(&mut self, count: u64) {
        for number in 0..count {
            let worker = WorkerId(self.seed.uuid());
            let session = SessionId(number + 1);
            let offer = offer(number, &mut self.seed);
            self.workers.push((worker, session));
            let hello = WorkerHello {
                worker,
                session,
                offer,
                process: 0,
                attempts: Vec::new(),
                containers: Vec::new(),
                devices: BTreeMap::new(),
                thermal: None,
                power: None,
                cached: Vec::new(),
                interruption: String::new(),
            };
            self.input("hello", Input::WorkerHello(Box::new(hello)));
            let after = Duration::from_micros(self.seed.below(1_000_000));
            self.later(after, Event::Alive(self.workers.len() - 1));
        }
    }

    fn define(&mut self) {
        let workspaces: Vec<_> = (0..WORKSPACES).map(|_| WorkspaceId(self.seed.uuid())).collect();
        for number in 0..STUBS {
            let stub = StubId(self.seed.uuid());
            let spec = stub_spec(stub, number, &mut self.seed);
            let facts = StubFacts {
                stub,
                workspace: self.seed.pick(&workspaces),
                start: Duration::from_millis(200 + self.seed.below(400)),
                call: Duration::from_millis(100 + self.seed.below(2900)),
            };
            self.index.insert(stub, self.stubs.len());
            self.stubs.push(facts);
            self.input("define", Input::DefineStub(spec));
        }
    }

    /// Hands in a task of any stub; some are called far more often than others.
    fn submit_any(&mut self) {
        let left = self.seed.below(STUBS);
        let right = self.seed.below(STUBS);
        self.submit(usize::try_from(left.min(right)).unwrap_or(0));
    }

    fn submit(&mut self, index: usize) {
        let facts = self.stubs[index];
        let spec = TaskSpec {
            task: TaskId(self.seed.uuid()),
            workspace: facts.workspace,
            stub: facts.stub,
            attempts_used: 0,
            max_retries: 3,
            timeout: Some(Duration::from_secs(3600)),
            ttl: Duration::from_secs(12 * 3600),
            recovered: None,
            warm_up: false,
        };
        self.input("submit", Input::Submit(spec));
    }

    /// Lets time pass until so many more decisions were made. Each task that goes to a worker is
    /// followed by another of the same stub, so that the queues stay as they are.
    fn run(&mut self, decisions: u64) {
        let until = self.decisions + decisions;
        while self.decisions < until {
            while let Some(index) = self.wanted.pop() {
                self.submit(index);
            }
            let Some(&Reverse((at, _, event))) = self.agenda.peek() else { return };
            if let Some(deadline) = self.core.next_deadline().filter(|deadline| *deadline <= at) {
                self.now = self.now.max(deadline);
                self.input("timer", Input::Timer);
                continue;
            }
            self.agenda.pop();
            self.now = self.now.max(at);
            match event {
                Event::Started(attempt) => {
                    let report = AttemptReport::Started;
                    self.input("started", Input::Attempt { attempt, report });
                }
                Event::Finished(attempt) => {
                    let outcome = CallOutcome::Returned;
                    let report = AttemptReport::Finished { outcome, reusable: true };
                    self.input("finished", Input::Attempt { attempt, report });
                }
                Event::Gone(container) => self.input("gone", Input::ContainerGone { container }),
                Event::Alive(index) => {
                    let (worker, session) = self.workers[index];
                    self.input("alive", Input::WorkerAlive { worker, session });
                    self.later(Duration::from_secs(1), Event::Alive(index));
                }
            }
        }
    }

    fn fill(&mut self, queued: usize) {
        for _ in 0..queued {
            self.submit_any();
        }
    }
}

fn offer(number: u64, seed: &mut Seed) -> Offer {
    let cores = seed.pick(&[4, 8, 8, 16, 16, 32]);
    let mut platform = Platform::X86_64Linux;
    let device = |vendor, family: &str, variant: &str, memory_mib| Device {
        vendor,
        family: family.into(),
        variant: variant.into(),
        cores: 0,
        memory_mib,
        slots: 1,
        simulated: false,
    };
    let devices = match number % 20 {
        0 => vec![device(Vendor::Nvidia, "H100", "", 80_000); 8],
        1 | 2 => vec![device(Vendor::Nvidia, "A10G", "", 24_000)],
        3 | 4 => {
            platform = Platform::Aarch64Darwin;
            vec![device(Vendor::Apple, "M3", "Max", 48_000)]
        }
        5 => {
            platform = Platform::Aarch64Darwin;
            vec![device(Vendor::Apple, "M4", "", 16_000)]
        }
        _ => Vec::new(),
    };
    Offer {
        hostname: format!("w{number}"),
        pool: seed.pick(&["default", "default", "default", "lab"]).into(),
        platform,
        capacity: Resources { cpu_millicores: cores * 1000, memory_mib: cores * 4096 },
        machine: Machine::default(),
        devices,
        on_battery: OnBattery::Run,
        runtimes: vec![Runtime::Native],
        root: metal9_types::RootSource::Host,
        allow_lists: false,
        pythons: vec!["3.11".into()],
        labels: BTreeMap::new(),
        version: "0.1.0".into(),
    }
}

fn stub_spec(stub: StubId, number: u64, seed: &mut Seed) -> StubSpec {
    let gpu = match number % 25 {
        0 => GpuRequest::parse("MPS", 1),
        1 => GpuRequest::parse("M3Max,H100", 1),
        2 => GpuRequest::parse("H100", 2),
        3 => GpuRequest::parse("A10G,H100", 1),
        _ => GpuRequest::default(),
    };
    StubSpec {
        resources: Resources {
            cpu_millicores: seed.pick(&[250, 500, 1000, 1000, 1000, 2000, 4000]),
            memory_mib: seed.pick(&[128, 512, 1024, 2048, 4096, 8192]),
        },
        gpu,
        pool: (number % 10 == 7).then(|| "lab".to_owned()),
        keep_warm: Duration::from_secs(if number % 50 == 49 { 0 } else { 10 }),
        image: format!("image-{}", seed.below(100)),
        object: format!("object-{number}"),
        ..StubSpec::new(stub)
    }
}

/// The processor time of this thread so far, where the system tells.
fn cpu_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// What one measurement took.
struct Took {
    decisions: u64,
    wall: Duration,
    /// Of the thread, harness included; the same as `wall` where the system does not tell.
    cpu: Duration,
}

fn report(bench: &Bench, took: &Took, options: &Options) {
    let Took { decisions, wall, cpu } = *took;
    let total: Duration = bench.spent.values().map(|spent| spent.time).sum();
    // Others use the machine too, so wall time says little: the scheduler's part of the processor
    // time is what counts.
    let part = total.as_secs_f64() / wall.as_secs_f64();
    let core = cpu.as_secs_f64() * part.min(1.0);
    let rate = decisions as f64 / core;
    let counts = bench.core.counts();
    if options.json {
        println!(
            "{{\"decisions\": {decisions}, \"decisions_per_second\": {rate:.0}, \
             \"microseconds_each\": {:.2}, \"workers\": {}, \"queued\": {}}}",
            1e6 / rate,
            counts.workers,
            counts.queued
        );
        return;
    }
    println!(
        "{} workers, {} queued, {} on workers, {} containers ({} idle, {} stopping)",
        counts.workers,
        counts.queued,
        counts.assigned,
        counts.containers,
        counts.idle,
        counts.stopping
    );
    println!(
        "{decisions} decisions in {core:.2} s of the scheduler's processor time ({:.2} s with the \
         harness, {:.2} s on the wall): {rate:.0} decisions/s, {:.2} µs each",
        cpu.as_secs_f64(),
        wall.as_secs_f64(),
        1e6 / rate
    );
    println!("{} of {} assignments were to new containers", bench.fresh, bench.assigned);
    println!("{:<10}{:>10}{:>12}{:>8}", "input", "count", "ns (wall)", "share");
    for (name, spent) in &bench.spent {
        println!(
            "{name:<10}{:>10}{:>12}{:>7.1}%",
            spent.count,
            spent.time.as_nanos() / u128::from(spent.count.max(1)),
            100.0 * spent.time.as_secs_f64() / total.as_secs_f64()
        );
    }
}

fn main() -> ExitCode {
    let options = match Options::read() {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    let mut bench = Bench::new();
    bench.define();
    bench.connect(options.workers);
    // The fleet fills up first; that is not measured.
    bench.fill(options.queued);
    bench.run(options.decisions / 4);
    bench.spent.clear();
    (bench.fresh, bench.assigned) = (0, 0);
    let (before, began, cpu) = (bench.decisions, Instant::now(), cpu_time());
    bench.run(options.decisions);
    let wall = began.elapsed();
    let cpu = cpu.and_then(|before| cpu_time()?.checked_sub(before)).unwrap_or(wall);
    report(&bench, &Took { decisions: bench.decisions - before, wall, cpu }, &options);
    if let Err(violation) = check(&bench.core) {
        eprintln!("the books do not balance: {violation}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
