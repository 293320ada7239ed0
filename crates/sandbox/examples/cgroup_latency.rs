//! What a cgroup adds to a container's start and end, and what looking at its memory costs.
//!
//! `cargo run --release -p metal9-sandbox --example cgroup_latency [ROUNDS]`

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use metal9_sandbox::{
    Cgroups, Controller, GroupLimits, Launch, Layout, Limits, SHIM_COMMAND, shim_main, spawn,
};

fn main() -> ExitCode {
    if env::args().nth(1).is_some_and(|command| command == SHIM_COMMAND) {
        return shim_main(env::args_os().skip(2));
    }
    let rounds = env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(50);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(measure(rounds)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(rounds: usize) -> Result<(), Box<dyn Error>> {
    let shim = env::current_exe()?;
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let layout = Layout::read(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
    let name = format!("metal9-bench-{}", std::process::id());
    let cgroups = Cgroups::open(&layout, &name, Some(4096), 2000);
    println!("{}", cgroups.describe());
    let limits = GroupLimits {
        memory_bytes: Some(256 << 20),
        cpu_millicores: 500,
        cpu_most_millicores: None,
    };
    let mut times: [Vec<Duration>; 5] = Default::default();
    let mut note = |what: usize, start: Instant| times[what].push(start.elapsed());
    for _ in 0..rounds {
        let start = Instant::now();
        let group = cgroups.create("job")?.ok_or("no cgroups here")?;
        note(0, start);
        let start = Instant::now();
        let process = spawn(&shim, launch(Some(group.clone()))).await?;
        note(1, start);
        let start = Instant::now();
        process.limit(&limits)?;
        note(2, start);
        process.kill().await?;

        let group = cgroups.create("job")?.ok_or("no cgroups here")?;
        let start = Instant::now();
        group.end()?;
        note(3, start);
        let start = Instant::now();
        let process = spawn(&shim, launch(None)).await?;
        note(4, start);
        process.kill().await?;
    }
    let names = ["make a group", "spawn in it", "limit it", "end an empty one", "spawn without"];
    for (name, times) in names.into_iter().zip(times) {
        print(name, times);
    }
    if cgroups.has(Controller::Memory) {
        let process = spawn(&shim, launch(cgroups.create("job")?)).await?;
        look("look at a cgroup's kills", rounds, || _ = process.memory_tally());
        look("look at a cgroup's memory", rounds, || _ = process.memory());
        process.kill().await?;
    }
    let process = spawn(&shim, launch(None)).await?;
    look("look at the processes' memory", rounds, || _ = process.memory());
    look("look at it exactly", rounds, || _ = process.memory_exact());
    process.kill().await?;
    cgroups.close();
    Ok(())
}

fn look(what: &str, rounds: usize, mut once: impl FnMut()) {
    let times = (0..rounds * 20).map(|_| {
        let start = Instant::now();
        once();
        start.elapsed()
    });
    print(what, times.collect());
}

/// Ten processes, as a job with a pool of workers has.
fn launch(group: Option<metal9_sandbox::Group>) -> Launch {
    let script = "for i in 1 2 3 4 5 6 7 8 9; do read line <&3 & done; read line <&3";
    Launch {
        program: PathBuf::from("/bin/sh"),
        args: vec!["-c".into(), script.into()],
        env: Vec::new(),
        cwd: PathBuf::from("/"),
        limits: Limits::default(),
        group,
        account: None,
        isolation: None,
        container: None,
    }
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    println!("{what:<40} p50 {:>10.1?}  p99 {:>10.1?}", at(50), at(99));
}
