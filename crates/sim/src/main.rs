//! Runs a simulated fleet and says what it came to.

#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, reason = "talking to a person is its job")]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use metal9_sim::script::Script;
use metal9_sim::{Options, Plan, Summary, World, shrink};

/// Simulates a fleet with faults, from one seed, in virtual time
#[derive(Debug, Parser)]
#[command(name = "metal9-sim")]
struct Arguments {
    /// What everything is drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seeds to run, one after another
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Workers in the fleet
    #[arg(long, default_value_t = 20)]
    workers: u64,
    /// Tasks that clients hand in
    #[arg(long, default_value_t = 2000)]
    tasks: u64,
    /// Check the scheduler's books after every so many inputs; by default as often as a fleet of
    /// this size allows
    #[arg(long)]
    check_every: Option<u64>,
    /// Run this script instead of drawing one, and tell everything that happens
    #[arg(long, conflicts_with_all = ["seed", "seeds", "workers", "tasks"])]
    script: Option<PathBuf>,
    /// Print the drawn script instead of running it
    #[arg(long)]
    print: bool,
    /// Runs that shrinking a failure may take
    #[arg(long, default_value_t = 400)]
    shrink: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.script {
        Some(path) => replay(path),
        None => draw(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a script and tells what happens.
#[expect(clippy::disallowed_methods, reason = "the program reads scripts, the library does not")]
fn replay(path: &PathBuf) -> anyhow::Result<bool> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the script `{}`", path.display()))?;
    let script: Script = text.parse().with_context(|| format!("in `{}`", path.display()))?;
    let mut world = World::new(Options { trace: true, ..Options::default() });
    let result = world.run(&script);
    let mut text = world.lines().join("\n") + "\n";
    text += &told(&world.summary());
    if let Err(violation) = &result {
        text += &format!("VIOLATION {violation}\n");
    }
    say(&text)?;
    Ok(result.is_ok())
}

/// Draws and runs one script for each seed; stops at the first that fails.
fn draw(arguments: &Arguments) -> anyhow::Result<bool> {
    // A check looks at every container and task.
    let usual = (arguments.workers * arguments.tasks / 10_000).max(1);
    let options = Options {
        check_every: arguments.check_every.unwrap_or(usual).max(1),
        patience: Duration::from_secs(1800),
        ..Options::default()
    };
    for seed in arguments.seed..arguments.seed + arguments.seeds {
        let plan = Plan { seed, workers: arguments.workers, tasks: arguments.tasks };
        let script = plan.script();
        if arguments.print {
            say(&script.to_string())?;
            continue;
        }
        let mut world = World::new(options);
        let result = world.run(&script);
        say(&format!("seed {seed}\n{}", told(&world.summary())))?;
        if let Err(violation) = result {
            eprintln!("VIOLATION {violation}\nshrinking the script");
            let shrunk = shrink(&script, options, &violation, arguments.shrink);
            let (runs, violation, script) = (shrunk.runs, shrunk.violation, shrunk.script);
            say(&format!("# seed {seed}, shrunk in {runs} runs\n# {violation}\n{script}"))?;
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes to stdout; a reader that has seen enough is no error.
fn say(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to stdout"),
    }
}

/// What a run came to, for people.
fn told(summary: &Summary) -> String {
    let Summary { accepted, attempts, retries, doubles, faults, restarts, .. } = summary;
    let Summary { workers_lost, sessions, messages, writes, inputs, ignored, .. } = summary;
    let ends: Vec<String> =
        summary.ends.iter().map(|(status, count)| format!("{status} {count}")).collect();
    let ends = ends.join(", ");
    let (time, digest) = (summary.time.as_secs_f64(), summary.digest);
    format!(
        "  tasks        {accepted} accepted; {ends}\n\
         \x20 attempts     {attempts}; {retries} failed and were followed by another; \
         {doubles} ran beside another\n\
         \x20 faults       {faults} of workers and links, {restarts} restarts of the gateway; \
         {workers_lost} workers lost\n\
         \x20 traffic      {sessions} sessions, {messages} messages, {writes} writes to the store\n\
         \x20 scheduler    {inputs} inputs, of which {ignored} had no effect\n\
         \x20 virtual time {time:.1} s\n\
         \x20 digest       {digest:016x}\n"
    )
}
