//! Writing scripts. What is as usual is left out.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::{Command, Network, Script, Span, StubLine, Way, WorkerLine, counted};

impl Display for Script {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut now = Duration::ZERO;
        for step in &self.steps {
            if step.at > now {
                writeln!(f, "advance {}", Time(step.at - now))?;
                now = step.at;
            }
            writeln!(f, "{}", step.command)?;
        }
        if self.end > now {
            writeln!(f, "advance {}", Time(self.end - now))?;
        }
        Ok(())
    }
}

impl Display for Command {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(text) => write!(f, "# {text}"),
            Self::Seed(seed) => write!(f, "seed {seed}"),
            Self::Network(network) => write!(f, "{network}"),
            Self::Worker(worker) => write!(f, "{worker}"),
            Self::Stub(stub) => write!(f, "{stub}"),
            Self::Submit { task, count, stub, workspace } => {
                write!(f, "submit {task}")?;
                if *count > 1 {
                    write!(f, "..{}", counted(task, count - 1))?;
                }
                write!(f, " {stub}")?;
                named(f, "workspace", workspace, &"a".to_owned())
            }
            Self::Cancel { task } => write!(f, "cancel {task}"),
            Self::Cut { worker, lasts } => fault(f, "cut", worker, *lasts),
            Self::Partition { worker, way, lasts } => {
                let worker = match way {
                    Way::Both => worker.clone(),
                    Way::Up => format!("{worker} up"),
                    Way::Down => format!("{worker} down"),
                };
                fault(f, "partition", &worker, *lasts)
            }
            Self::Freeze { worker, lasts } => fault(f, "freeze", worker, *lasts),
            Self::Crash { worker, lasts } => fault(f, "crash", worker, *lasts),
            Self::PowerCut { worker, lasts } => fault(f, "powercut", worker, *lasts),
            Self::Leave { worker, lasts } => fault(f, "leave", worker, *lasts),
            Self::Cordon { worker } => write!(f, "cordon {worker}"),
            Self::Uncordon { worker } => write!(f, "uncordon {worker}"),
            Self::Drain { worker, within } => {
                write!(f, "drain {worker}")?;
                named(f, "within", &Time(*within), &Time(Duration::from_secs(5 * 60)))
            }
            Self::Heal { worker: None } => write!(f, "heal"),
            Self::Heal { worker: Some(worker) } => write!(f, "heal {worker}"),
            Self::Start { worker } => write!(f, "start {worker}"),
            Self::Restart { lasts, power } => {
                write!(f, "restart gateway{}", if *power { " power" } else { "" })?;
                named(f, "for", &Time(*lasts), &Time(Duration::from_secs(1)))
            }
            Self::Settle => write!(f, "settle"),
            Self::Explain { task } => write!(f, "explain {task}"),
            Self::Show => write!(f, "show"),
        }
    }
}

impl Display for Network {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let usual = Self::default();
        write!(f, "network")?;
        named(f, "delay", &self.delay, &usual.delay)?;
        named(f, "duplicate", &Percent(self.duplicate), &Percent(usual.duplicate))?;
        named(f, "reorder", &Percent(self.reorder), &Percent(usual.reorder))?;
        named(f, "commit", &self.commit, &usual.commit)
    }
}

impl Display for WorkerLine {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.name)?;
        named(f, "cpu", &Cores(self.cpu), &Cores(4000))?;
        named(f, "mem", &self.mem, &8192)?;
        named(f, "gpu", &self.gpus.join(","), &String::new())?;
        named(f, "pool", &self.pool, &"default".to_owned())?;
        named(f, "platform", &self.platform, &"linux".to_owned())?;
        named(f, "runtime", &self.runtime, &"native".to_owned())
    }
}

impl Display for StubLine {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "stub {}", self.name)?;
        named(f, "cpu", &Cores(self.cpu), &Cores(1000))?;
        named(f, "mem", &self.mem, &128)?;
        named(f, "gpu", &self.gpu, &String::new())?;
        named(f, "count", &self.count, &0)?;
        if let Some(pool) = &self.pool {
            write!(f, " pool={pool}")?;
        }
        named(f, "keep", &Time(self.keep), &Time(Duration::from_secs(10)))?;
        named(f, "retries", &self.retries, &3)?;
        if let Some(timeout) = self.timeout {
            write!(f, " timeout={}", Time(timeout))?;
        }
        named(f, "ttl", &Time(self.ttl), &Time(Duration::from_secs(3600)))?;
        named(f, "start", &self.start, &Span::millis(300, 300))?;
        named(f, "call", &self.call, &Span::millis(1000, 1000))?;
        named(f, "crash", &Percent(self.crash), &Percent(0))?;
        named(f, "raise", &Percent(self.raise), &Percent(0))?;
        named(f, "priority", &self.priority, &0)?;
        self.most.map_or(Ok(()), |most| write!(f, " most={most}"))
    }
}

fn fault(f: &mut Formatter<'_>, what: &str, whom: &str, lasts: Option<Duration>) -> fmt::Result {
    write!(f, "{what} {whom}")?;
    lasts.map_or(Ok(()), |lasts| write!(f, " for={}", Time(lasts)))
}

fn named<T: Display + PartialEq>(
    f: &mut Formatter<'_>,
    name: &str,
    value: &T,
    usual: &T,
) -> fmt::Result {
    if value == usual { Ok(()) } else { write!(f, " {name}={value}") }
}

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Time(self.least))?;
        if self.most > self.least { write!(f, "..{}", Time(self.most)) } else { Ok(()) }
    }
}

/// A duration in the largest unit that leaves no fraction.
#[derive(PartialEq)]
struct Time(Duration);

impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        let units = [("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000)];
        for (unit, one) in units {
            if micros >= one && micros.is_multiple_of(one) {
                return write!(f, "{}{unit}", micros / one);
            }
        }
        write!(f, "{micros}us")
    }
}

#[derive(PartialEq)]
struct Percent(u32);

impl Display for Percent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// Thousandths of a core as cores.
#[derive(PartialEq)]
struct Cores(u64);

impl Display for Cores {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        if rest == 0 {
            write!(f, "{whole}")
        } else {
            let digits = format!("{rest:03}");
            write!(f, "{whole}.{}", digits.trim_end_matches('0'))
        }
    }
}
