//! Scripts: what happens in a run, as text.
//!
//! One line is one thing that happens. `advance` lets time pass; everything else happens at the
//! moment the lines before have reached. A plan drawn from a seed and a failure that was shrunk
//! are scripts like one written by hand.
//!
//! ```text
//! # comments are kept
//! seed 7
//! network delay=1ms..20ms duplicate=5% reorder=5% commit=1ms
//! worker w1 cpu=4 mem=8192 gpu=M3-Max platform=mac pool=default runtime=native
//! stub f cpu=1 mem=512 gpu=M3,H100 keep=10s retries=3 timeout=1m start=300ms call=1s..2s
//! submit t1 f workspace=a
//! submit t2..t9 f
//! cancel t1
//! advance 5s
//! cut w1 for=2s
//! drain w1 within=10s
//! restart gateway for=1s
//! settle
//! explain t1
//! show
//! ```

mod parse;
mod print;

use std::time::Duration;

pub use parse::ScriptError;

/// From the shortest to the longest; one duration if both are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The shortest.
    pub least: Duration,
    /// The longest.
    pub most: Duration,
}

impl Span {
    /// Always the same.
    #[must_use]
    pub const fn exactly(duration: Duration) -> Self {
        Self { least: duration, most: duration }
    }

    /// From so many milliseconds to so many.
    #[must_use]
    pub const fn millis(least: u64, most: u64) -> Self {
        Self { least: Duration::from_millis(least), most: Duration::from_millis(most) }
    }
}

/// How messages travel and how long the disk takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// One way.
    pub delay: Span,
    /// Messages that arrive twice, of a hundred.
    pub duplicate: u32,
    /// Workers' reports that do not keep their place in line, of a hundred.
    pub reorder: u32,
    /// From handing a change to the store until it is durable.
    pub commit: Span,
}

impl Default for Network {
    fn default() -> Self {
        let millisecond = Span::millis(1, 1);
        Self { delay: millisecond, duplicate: 0, reorder: 0, commit: millisecond }
    }
}

/// A worker that joins the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerLine {
    /// Its name, of which its id is made.
    pub name: String,
    /// Thousandths of a core.
    pub cpu: u64,
    /// MiB.
    pub mem: u64,
    /// Accelerators: a vendor is known by the name.
    pub gpus: Vec<String>,
    /// Its pool.
    pub pool: String,
    /// `linux`, `arm` or `mac`.
    pub platform: String,
    /// `native`, `runc` or `runsc`.
    pub runtime: String,
}

/// A stub, and what its calls do.
#[derive(Clone, Debug, PartialEq)]
pub struct StubLine {
    /// Its name.
    pub name: String,
    /// Thousandths of a core.
    pub cpu: u64,
    /// MiB.
    pub mem: u64,
    /// Acceptable accelerators joined by commas; empty for none.
    pub gpu: String,
    /// How many of them.
    pub count: u32,
    /// The pool it must run in.
    pub pool: Option<String>,
    /// How long an idle container is kept.
    pub keep: Duration,
    /// Attempts after the first.
    pub retries: u32,
    /// How long one attempt may run.
    pub timeout: Option<Duration>,
    /// How long a task may wait to be begun.
    pub ttl: Duration,
    /// From an assignment to the user's code in a new container.
    pub start: Span,
    /// One call.
    pub call: Span,
    /// Calls whose container dies half-way, of a hundred.
    pub crash: u32,
    /// Calls that raise, of a hundred.
    pub raise: u32,
    /// Its place among its workspace's stubs; higher goes first.
    pub priority: i32,
    /// Containers it may have at a time.
    pub most: Option<u32>,
}

/// Which way messages do not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Neither.
    Both,
    /// From the worker to the gateway.
    Up,
    /// From the gateway to the worker.
    Down,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A remark, for people.
    Note(String),
    /// The seed of everything that is left to chance.
    Seed(u64),
    /// How messages travel from here on.
    Network(Network),
    /// A worker joins and connects.
    Worker(WorkerLine),
    /// A stub becomes known.
    Stub(StubLine),
    /// Clients hand in tasks: `t1..t9` are nine.
    Submit {
        /// The first task's name.
        task: String,
        /// How many.
        count: u64,
        /// Their stub.
        stub: String,
        /// Whose they are.
        workspace: String,
    },
    /// A client wants a task to end.
    Cancel {
        /// The task.
        task: String,
    },
    /// A worker's connection is reset, and it cannot dial until healed.
    Cut {
        /// The worker.
        worker: String,
        /// Until it can dial again; until `heal` if absent.
        lasts: Option<Duration>,
    },
    /// Packets to or from a worker get lost, and nobody is told.
    Partition {
        /// The worker.
        worker: String,
        /// Which way.
        way: Way,
        /// How long; until `heal` if absent.
        lasts: Option<Duration>,
    },
    /// A worker's machine stands still.
    Freeze {
        /// The worker.
        worker: String,
        /// How long; until `heal` if absent.
        lasts: Option<Duration>,
    },
    /// A worker's process dies; its connection is closed for it.
    Crash {
        /// The worker.
        worker: String,
        /// Until it is started again; until `start` if absent.
        lasts: Option<Duration>,
    },
    /// A worker's machine loses power: nobody is told.
    PowerCut {
        /// The worker.
        worker: String,
        /// Until it is started again; until `start` if absent.
        lasts: Option<Duration>,
    },
    /// A worker is asked to end, as its service manager does.
    Leave {
        /// The worker.
        worker: String,
        /// From its end until it is started again; until `start` if absent.
        lasts: Option<Duration>,
    },
    /// A worker is to get nothing new until it is uncordoned.
    Cordon {
        /// The worker.
        worker: String,
    },
    /// A worker may get work again.
    Uncordon {
        /// The worker.
        worker: String,
    },
    /// A worker is cordoned, and what still runs on it after a while is made elsewhere.
    Drain {
        /// The worker.
        worker: String,
        /// How long its calls may go on.
        within: Duration,
    },
    /// A worker's link works again and its machine goes on; all of them if none is named.
    Heal {
        /// The worker.
        worker: Option<String>,
    },
    /// A worker that is off is started.
    Start {
        /// The worker.
        worker: String,
    },
    /// The gateway's process dies and comes back.
    Restart {
        /// How long it is away.
        lasts: Duration,
        /// `true` if its machine lost power, and with it what the disk was not waited for.
        power: bool,
    },
    /// All faults end, and time passes until nothing is left to do.
    Settle,
    /// Says why a task is where it is.
    Explain {
        /// The task.
        task: String,
    },
    /// Says how everything is.
    Show,
}

/// A thing that happens, and when, counted from the start of the script.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When. Time that passes in a `settle` is not counted.
    pub at: Duration,
    /// What.
    pub command: Command,
}

/// A whole script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// When it ends.
    pub end: Duration,
}

impl Script {
    /// Puts one more thing at the end.
    pub fn push(&mut self, at: Duration, command: Command) {
        self.end = self.end.max(at);
        self.steps.push(Step { at, command });
    }

    /// The same with every batch of tasks as single ones, so that each can be left out.
    #[must_use]
    pub fn singly(&self) -> Self {
        let mut single = Self { steps: Vec::new(), end: self.end };
        for step in &self.steps {
            match &step.command {
                Command::Submit { task, count, stub, workspace } => {
                    for index in 0..*count {
                        let (task, stub) = (counted(task, index), stub.clone());
                        let workspace = workspace.clone();
                        single.push(step.at, Command::Submit { task, count: 1, stub, workspace });
                    }
                }
                other => single.push(step.at, other.clone()),
            }
        }
        single
    }
}

/// The name so many places further: `t3` and 4 make `t7`.
pub(crate) fn counted(name: &str, index: u64) -> String {
    let (stem, number) = split_number(name);
    match number {
        Some(number) => format!("{stem}{}", number + index),
        None if index == 0 => name.to_owned(),
        None => format!("{name}{index}"),
    }
}

fn split_number(name: &str) -> (&str, Option<u64>) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem, name[stem.len()..].parse().ok())
}
