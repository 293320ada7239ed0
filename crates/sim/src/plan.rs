//! A fleet, its work and its faults, drawn from a seed.

use std::time::Duration;

use rand::RngExt as _;

use crate::draw::{self, Draw, Stream};
use crate::script::{Command, Network, Script, Span, Step, StubLine, Way, WorkerLine};

/// How large a drawn script is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What everything is drawn from.
    pub seed: u64,
    /// Workers.
    pub workers: u64,
    /// Tasks, from three workspaces.
    pub tasks: u64,
}

/// A task takes about so much of a core's time, and a worker has about so many cores.
const TASK_SECONDS: f64 = 1.3;
const CORES: f64 = 4.0;
/// Tasks are handed in over at least this long.
const LEAST_WINDOW: Duration = Duration::from_secs(20);
/// Faults go on for a while after that.
const AFTER: Duration = Duration::from_secs(20);

impl Plan {
    /// The script: a fleet, stubs, tasks over a while with faults in between, and a `settle`.
    #[must_use]
    pub fn script(&self) -> Script {
        let load = self.tasks as f64 * TASK_SECONDS / (self.workers.max(1) as f64 * CORES);
        let window = LEAST_WINDOW.max(Duration::from_secs_f64(load * 1.1));
        let mut script = Script::default();
        script.push(Duration::ZERO, Command::Seed(self.seed));
        let network = Network {
            delay: Span::millis(1, 40),
            duplicate: 3,
            reorder: 3,
            commit: Span::millis(1, 8),
        };
        script.push(Duration::ZERO, Command::Network(network));
        self.workers(&mut script);
        self.stubs(&mut script);
        let mut steps = self.submissions(window);
        steps.extend(self.cancellations(&steps));
        steps.extend(self.faults(window + AFTER));
        // A stable sort: what is at one time stays in the order in which it was drawn.
        steps.sort_by_key(|step| step.at);
        for step in steps {
            script.push(step.at, step.command);
        }
        script.push(window + AFTER, Command::Settle);
        script
    }

    fn draw(&self, of: Stream) -> Draw {
        draw::stream(self.seed, of)
    }

    /// The first three can do what only few can.
    fn workers(&self, script: &mut Script) {
        let mut draw = self.draw(Stream::Workers);
        for number in 1..=self.workers {
            let cpu = draw.random_range(2..=6) * 1000;
            let kind = if number <= 3 { number } else { draw.random_range(1..=20) };
            let (gpus, platform, pool): (&[&str], _, _) = match kind {
                1 => (&["H100", "H100"], "linux", "default"),
                2 => (&["M3-Max"], "mac", "default"),
                3 => (&[], "linux", "big"),
                4 => (&["A10G"], "linux", "default"),
                5 => (&["M2"], "mac", "default"),
                6 => (&[], "arm", "default"),
                _ => (&[], "linux", "default"),
            };
            let line = WorkerLine {
                name: format!("w{number}"),
                cpu: if number <= 3 { 6000 } else { cpu },
                mem: 8192,
                gpus: gpus.iter().map(|&gpu| gpu.to_owned()).collect(),
                pool: pool.to_owned(),
                platform: platform.to_owned(),
                runtime: "native".to_owned(),
            };
            script.push(Duration::ZERO, Command::Worker(line));
        }
    }

    fn stubs(&self, script: &mut Script) {
        let mut draw = self.draw(Stream::Stubs);
        for number in 1..=STUBS {
            let seconds = |draw: &mut Draw, most| Duration::from_secs(draw.random_range(0..=most));
            let mut line = StubLine {
                name: format!("s{number}"),
                cpu: 1000,
                mem: 256,
                gpu: String::new(),
                count: 0,
                pool: None,
                keep: seconds(&mut draw, 12),
                retries: draw.random_range(0..=4),
                timeout: None,
                ttl: Duration::from_secs(600),
                start: Span::millis(100, 1500),
                call: Span::millis(20, draw.random_range(500..3000)),
                crash: 0,
                raise: 0,
                priority: 0,
                most: None,
            };
            match number {
                1 => line.cpu = 500,
                2 => (line.cpu, line.most) = (2000, Some(6)),
                3 => line.keep = Duration::ZERO,
                4 => line.crash = 15,
                5 => line.raise = 20,
                6 => line.timeout = Some(Duration::from_secs(1)),
                7 => line.retries = 0,
                8 => line.mem = 3000,
                9 => (line.call, line.priority) = (Span::millis(3000, 9000), 2),
                10 => line.gpu = "M3,H100".to_owned(),
                11 => line.gpu = "mps".to_owned(),
                12 => (line.gpu, line.count) = ("H100".to_owned(), 2),
                13 => line.pool = Some("big".to_owned()),
                _ => {}
            }
            script.push(Duration::ZERO, Command::Stub(line));
        }
    }

    fn submissions(&self, window: Duration) -> Vec<Step> {
        let mut draw = self.draw(Stream::Submissions);
        let mut steps = Vec::new();
        let mut next = 1;
        while next <= self.tasks {
            let count = draw.random_range(1..=20).min(self.tasks - next + 1);
            // Accelerators and the small pool are scarce, so they are asked for rarely.
            let scarce = draw::happens(&mut draw, 4);
            let stub = if scarce { draw.random_range(10..=13) } else { draw.random_range(1..=9) };
            let task = format!("t{next}");
            let workspace = ["a", "b", "c"][draw.random_range(0..3)].to_owned();
            let at = moment(&mut draw, window);
            let stub = format!("s{stub}");
            steps.push(Step { at, command: Command::Submit { task, count, stub, workspace } });
            next += count;
        }
        steps
    }

    /// Some tasks are cancelled: while they wait, start, run, or have ended.
    fn cancellations(&self, submissions: &[Step]) -> Vec<Step> {
        let mut draw = self.draw(Stream::Cancellations);
        let mut steps = Vec::new();
        for step in submissions {
            let Command::Submit { task, .. } = &step.command else { continue };
            if draw::happens(&mut draw, 10) {
                let at = step.at + moment(&mut draw, Duration::from_secs(4));
                steps.push(Step { at, command: Command::Cancel { task: task.clone() } });
            }
        }
        steps
    }

    fn faults(&self, window: Duration) -> Vec<Step> {
        let mut steps = Vec::new();
        // One in so many seconds of a worker's life.
        let mut add = |of: Stream, every: u64, make: &dyn Fn(&mut Draw, String) -> Command| {
            let mut draw = self.draw(of);
            let count = (self.workers * window.as_secs() / every).max(2);
            for _ in 0..count {
                let at = moment(&mut draw, window);
                let worker = format!("w{}", draw.random_range(1..=self.workers.max(1)));
                let command = make(&mut draw, worker);
                steps.push(Step { at, command });
            }
        };
        let between =
            |draw: &mut Draw, least, most| Some(draw::duration(draw, Span::millis(least, most)));
        add(Stream::Crashes, 200, &|draw, worker| Command::Crash {
            worker,
            lasts: between(draw, 500, 20_000),
        });
        add(Stream::PowerCuts, 500, &|draw, worker| Command::PowerCut {
            worker,
            lasts: between(draw, 1_000, 40_000),
        });
        add(Stream::Cuts, 150, &|draw, worker| Command::Cut {
            worker,
            lasts: between(draw, 10, 20_000),
        });
        add(Stream::Partitions, 150, &|draw, worker| {
            let way = [Way::Both, Way::Up, Way::Down][draw.random_range(0..3)];
            Command::Partition { worker, way, lasts: between(draw, 100, 40_000) }
        });
        add(Stream::Freezes, 250, &|draw, worker| Command::Freeze {
            worker,
            lasts: between(draw, 500, 30_000),
        });
        add(Stream::Departures, 500, &|draw, worker| Command::Leave {
            worker,
            lasts: between(draw, 1_000, 10_000),
        });
        steps.extend(self.drains(window));
        let mut draw = self.draw(Stream::Restarts);
        for _ in 0..draw.random_range(1..=3) {
            let at = moment(&mut draw, window);
            let lasts = draw::duration(&mut draw, Span::millis(50, 12_000));
            let power = draw::happens(&mut draw, 40);
            steps.push(Step { at, command: Command::Restart { lasts, power } });
        }
        steps
    }
}

impl Plan {
    /// Operators take workers out of service for a while.
    fn drains(&self, window: Duration) -> Vec<Step> {
        let mut draw = self.draw(Stream::Drains);
        let mut steps = Vec::new();
        for _ in 0..(self.workers * window.as_secs() / 400).max(2) {
            let worker = format!("w{}", draw.random_range(1..=self.workers.max(1)));
            let at = moment(&mut draw, window);
            let back = at + draw::duration(&mut draw, Span::millis(2_000, 20_000));
            let within = draw::duration(&mut draw, Span::millis(0, 5_000));
            let command = match draw::happens(&mut draw, 50) {
                true => Command::Drain { worker: worker.clone(), within },
                false => Command::Cordon { worker: worker.clone() },
            };
            steps.push(Step { at, command });
            steps.push(Step { at: back, command: Command::Uncordon { worker } });
        }
        steps
    }
}

/// Stubs of a plan.
const STUBS: u64 = 13;

fn moment(draw: &mut Draw, window: Duration) -> Duration {
    let millis = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(draw.random_range(0..millis.max(1)))
}
