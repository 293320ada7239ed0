//! Reading scripts.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use super::{Command, Network, Script, Span, StubLine, Way, WorkerLine, split_number};

/// A line that is no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ScriptError {
    /// The line's number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

type Parsed<T> = Result<T, String>;

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let mut script = Self::default();
        for (index, line) in text.lines().enumerate() {
            let error = |problem| ScriptError { line: index + 1, problem };
            let line = line.trim();
            if let Some(time) = line.strip_prefix("advance ") {
                script.end += duration(time.trim()).map_err(error)?;
            } else if let Some(note) = line.strip_prefix('#') {
                script.push(script.end, Command::Note(note.trim().to_owned()));
            } else if !line.is_empty() {
                let code = line.split(" #").next().unwrap_or(line);
                script.push(script.end, command(code).map_err(error)?);
            }
        }
        Ok(script)
    }
}

/// The words of a line: those by place, and those by name.
struct Words<'a> {
    places: Vec<&'a str>,
    names: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn of(line: &'a str) -> Self {
        let mut words = Self { places: Vec::new(), names: BTreeMap::new() };
        for word in line.split_whitespace() {
            match word.split_once('=') {
                Some((name, value)) => drop(words.names.insert(name, value)),
                None => words.places.push(word),
            }
        }
        words.places.reverse();
        words
    }

    fn word(&mut self, what: &str) -> Parsed<&'a str> {
        self.places.pop().ok_or_else(|| format!("expected {what}"))
    }

    fn owned(&mut self, what: &str) -> Parsed<String> {
        self.word(what).map(str::to_owned)
    }

    /// The value of a name, read by `read`.
    fn named<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Parsed<T>,
        otherwise: T,
    ) -> Parsed<T> {
        self.names.remove(name).map_or(Ok(otherwise), |value| {
            read(value).map_err(|problem| format!("`{name}`: {problem}"))
        })
    }

    fn text(&mut self, name: &str, otherwise: &str) -> String {
        self.names.remove(name).unwrap_or(otherwise).to_owned()
    }

    fn lasts(&mut self) -> Parsed<Option<Duration>> {
        self.named("for", |value| duration(value).map(Some), None)
    }

    /// Nothing may be left over.
    fn end(self, command: Command) -> Parsed<Command> {
        let name = self.names.keys().next().map(|name| format!("{name}="));
        let word = self.places.last().map(|word| (*word).to_owned());
        match name.or(word) {
            Some(left) => Err(format!("`{left}` is not understood here")),
            None => Ok(command),
        }
    }
}

fn command(line: &str) -> Parsed<Command> {
    let mut words = Words::of(line);
    let command = match words.word("a command")? {
        "seed" => Command::Seed(number(words.word("a number")?)?),
        "network" => Command::Network(network(&mut words)?),
        "worker" => Command::Worker(worker(&mut words)?),
        "stub" => Command::Stub(stub(&mut words)?),
        "submit" => submit(&mut words)?,
        "cancel" => Command::Cancel { task: words.owned("a task")? },
        "cut" => Command::Cut { worker: words.owned("a worker")?, lasts: words.lasts()? },
        "partition" => {
            let worker = words.owned("a worker")?;
            let way = match words.places.pop() {
                None => Way::Both,
                Some("up") => Way::Up,
                Some("down") => Way::Down,
                Some(other) => return Err(format!("`{other}` is neither `up` nor `down`")),
            };
            Command::Partition { worker, way, lasts: words.lasts()? }
        }
        "freeze" => Command::Freeze { worker: words.owned("a worker")?, lasts: words.lasts()? },
        "crash" => Command::Crash { worker: words.owned("a worker")?, lasts: words.lasts()? },
        "powercut" => Command::PowerCut { worker: words.owned("a worker")?, lasts: words.lasts()? },
        "leave" => Command::Leave { worker: words.owned("a worker")?, lasts: words.lasts()? },
        "cordon" => Command::Cordon { worker: words.owned("a worker")? },
        "uncordon" => Command::Uncordon { worker: words.owned("a worker")? },
        "drain" => {
            let worker = words.owned("a worker")?;
            let within = words.named("within", duration, Duration::from_secs(5 * 60))?;
            Command::Drain { worker, within }
        }
        "heal" => Command::Heal { worker: words.places.pop().map(str::to_owned) },
        "start" => Command::Start { worker: words.owned("a worker")? },
        "restart" => {
            if words.word("`gateway`")? != "gateway" {
                return Err("only the gateway restarts; see `crash` for workers".to_owned());
            }
            let lasts = words.lasts()?.unwrap_or(Duration::from_secs(1));
            let power = match words.places.pop() {
                None => false,
                Some("power") => true,
                Some(other) => return Err(format!("`{other}` is not `power`")),
            };
            Command::Restart { lasts, power }
        }
        "settle" => Command::Settle,
        "explain" => Command::Explain { task: words.owned("a task")? },
        "show" => Command::Show,
        other => return Err(format!("`{other}` is not a command")),
    };
    words.end(command)
}

fn network(words: &mut Words<'_>) -> Parsed<Network> {
    let usual = Network::default();
    Ok(Network {
        delay: words.named("delay", span, usual.delay)?,
        duplicate: words.named("duplicate", percent, usual.duplicate)?,
        reorder: words.named("reorder", percent, usual.reorder)?,
        commit: words.named("commit", span, usual.commit)?,
    })
}

fn worker(words: &mut Words<'_>) -> Parsed<WorkerLine> {
    let name = words.owned("a name")?;
    let gpus = words.text("gpu", "");
    let gpus = gpus.split(',').filter(|gpu| !gpu.is_empty()).map(str::to_owned).collect();
    let line = WorkerLine {
        name,
        cpu: words.named("cpu", millicores, 4000)?,
        mem: words.named("mem", number, 8192)?,
        gpus,
        pool: words.text("pool", "default"),
        platform: words.text("platform", "linux"),
        runtime: words.text("runtime", "native"),
    };
    if !["linux", "arm", "mac"].contains(&line.platform.as_str()) {
        return Err(format!("`{}` is none of linux, arm, mac", line.platform));
    }
    if !["native", "runc", "runsc"].contains(&line.runtime.as_str()) {
        return Err(format!("`{}` is none of native, runc, runsc", line.runtime));
    }
    Ok(line)
}

fn stub(words: &mut Words<'_>) -> Parsed<StubLine> {
    let some = |value: &str| Ok(Some(value.to_owned()));
    Ok(StubLine {
        name: words.owned("a name")?,
        cpu: words.named("cpu", millicores, 1000)?,
        mem: words.named("mem", number, 128)?,
        gpu: words.text("gpu", ""),
        count: words.named("count", number, 0)?,
        pool: words.named("pool", some, None)?,
        keep: words.named("keep", duration, Duration::from_secs(10))?,
        retries: words.named("retries", number, 3)?,
        timeout: words.named("timeout", |value| duration(value).map(Some), None)?,
        ttl: words.named("ttl", duration, Duration::from_secs(3600))?,
        start: words.named("start", span, Span::millis(300, 300))?,
        call: words.named("call", span, Span::millis(1000, 1000))?,
        crash: words.named("crash", percent, 0)?,
        raise: words.named("raise", percent, 0)?,
        priority: words.named("priority", number, 0)?,
        most: words.named("most", |value| number(value).map(Some), None)?,
    })
}

fn submit(words: &mut Words<'_>) -> Parsed<Command> {
    let tasks = words.word("a task")?;
    let stub = words.owned("a stub")?;
    let workspace = words.text("workspace", "a");
    let (task, count) = match tasks.split_once("..") {
        None => (tasks, 1),
        Some((first, last)) => {
            let (stem, from) = split_number(first);
            let (other, to) = split_number(last);
            match from.zip(to) {
                Some((from, to)) if stem == other && from <= to => (first, to - from + 1),
                _ => return Err(format!("`{tasks}` is not a range as `t1..t9`")),
            }
        }
    };
    Ok(Command::Submit { task: task.to_owned(), count, stub, workspace })
}

fn number<T: FromStr>(text: &str) -> Parsed<T> {
    text.parse().map_err(|_| format!("`{text}` is not a number"))
}

fn percent(text: &str) -> Parsed<u32> {
    match number(text.strip_suffix('%').unwrap_or(text))? {
        percent @ 0..=100 => Ok(percent),
        _ => Err(format!("`{text}` is not between 0% and 100%")),
    }
}

fn millicores(text: &str) -> Parsed<u64> {
    let cores: f64 = number(text)?;
    if !(0.0..=1e6).contains(&cores) {
        return Err(format!("`{text}` is not a number of cores"));
    }
    // Bounded just before, so nothing is cut off.
    Ok((cores * 1000.0).round() as u64)
}

/// A number with `us`, `ms`, `s`, `m` or `h`.
fn duration(text: &str) -> Parsed<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let one: u64 = match &text[digits.len()..] {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return Err(format!("`{text}` is not a time as `5s` or `20ms`")),
    };
    let number: u64 = number(digits)?;
    number
        .checked_mul(one)
        .map(Duration::from_micros)
        .ok_or_else(|| format!("`{text}` is too long"))
}

fn span(text: &str) -> Parsed<Span> {
    let Some((least, most)) = text.split_once("..") else {
        return duration(text).map(Span::exactly);
    };
    let span = Span { least: duration(least)?, most: duration(most)? };
    if span.least > span.most {
        return Err(format!("`{text}` ends before it begins"));
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_the_same() {
        let text = "# a remark\nseed 7\nnetwork delay=1ms..20ms duplicate=5%\n\
                    worker w1 cpu=1.5 gpu=M3-Max,H100 platform=mac\nstub f gpu=M3,H100 timeout=5s\n\
                    advance 1500ms\nsubmit t2..t9 f workspace=b\ncut w1 for=2s\npartition w1 up\n\
                    restart gateway power\nleave w1\nstub g priority=-3 most=2\ncordon w1\n\
                    uncordon w1\ndrain w1 within=3s\nheal\nsettle\nexplain t3\nadvance 1h\n";
        let script: Script = text.parse().unwrap();
        let printed = script.to_string();
        assert_eq!(printed.parse::<Script>().unwrap(), script, "{printed}");
        assert_eq!(script.end, Duration::from_millis(1500) + Duration::from_secs(3600));
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        let problem = |text: &str| text.parse::<Script>().unwrap_err().to_string();
        assert_eq!(problem("\nfly w1"), "line 2: `fly` is not a command");
        assert_eq!(problem("worker w1 gpus=2"), "line 1: `gpus=` is not understood here");
        assert_eq!(problem("advance 5"), "line 1: `5` is not a time as `5s` or `20ms`");
        assert_eq!(problem("submit t9..t1 f"), "line 1: `t9..t1` is not a range as `t1..t9`");
        assert_eq!(problem("stub f call=2s..1s"), "line 1: `call`: `2s..1s` ends before it begins");
        assert_eq!(
            problem("advance 99999999999999999h"),
            "line 1: `99999999999999999h` is too long"
        );
    }

    #[test]
    fn a_batch_can_be_taken_apart() {
        let script: Script = "stub f\nsubmit t8..t10 f\n".parse().unwrap();
        let expected = "stub f\nsubmit t8 f\nsubmit t9 f\nsubmit t10 f\n".parse().unwrap();
        assert_eq!(script.singly(), expected);
    }
}
