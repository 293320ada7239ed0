//! How long starting a program and cleaning up after a call take.
//!
//! `cargo run --release -p metal9-sandbox --example spawn_latency [ROUNDS]`

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use metal9_sandbox::{
    Isolation, JobPaths, Launch, Limits, Network, RealMachine, SHIM_COMMAND, Sought, file_rules,
    probe, shim_main, spawn,
};

fn main() -> ExitCode {
    if env::args().nth(1).is_some_and(|command| command == SHIM_COMMAND) {
        return shim_main(env::args_os().skip(2));
    }
    let rounds = env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(200);
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
    start_and_kill("not isolated", &shim, rounds, &launch("read line <&3")).await?;
    let directory = env::temp_dir().join(format!("spawn-latency-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("tmp"))?;
    let means = probe(&shim, &directory, Sought::Everything).await?;
    println!("isolation here: {means}");
    for network in [Network::Full, Network::GatewayOnly] {
        let job = JobPaths {
            own: directory.clone(),
            temporary: directory.join("tmp"),
            python: "/usr/bin/python3".into(),
            ..JobPaths::default()
        };
        let files = file_rules(&RealMachine, &job);
        let isolation = Some(Isolation { means, files, network, gpu: false });
        let launch = Launch { isolation, ..launch("read line <&3") };
        start_and_kill(&format!("isolated, network {network}"), &shim, rounds, &launch).await?;
    }
    std::fs::remove_dir_all(&directory)?;
    blocking(&shim, rounds).await?;

    let process = spawn(&shim, launch("read line <&3")).await?;
    let mut marks = Vec::new();
    let mut reaps = Vec::new();
    let mut looks = Vec::new();
    for _ in 0..rounds * 10 {
        let start = Instant::now();
        process.mark().await?;
        marks.push(start.elapsed());
        let start = Instant::now();
        process.reap().await?;
        reaps.push(start.elapsed());
        let start = Instant::now();
        process.memory()?;
        looks.push(start.elapsed());
    }
    print("mark, one process", marks);
    print("reap, nothing to do", reaps);
    print("memory, one process", looks);
    Ok(())
}

async fn start_and_kill(
    what: &str,
    shim: &Path,
    rounds: usize,
    launch: &Launch,
) -> Result<(), Box<dyn Error>> {
    let mut spawns = Vec::new();
    let mut kills = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        let process = spawn(shim, launch.clone()).await?;
        spawns.push(start.elapsed());
        let start = Instant::now();
        process.kill().await?;
        kills.push(start.elapsed());
    }
    print(&format!("spawn, {what}"), spawns);
    print(&format!("kill, {what}"), kills);
    Ok(())
}

/// How long the thread that polls `spawn` is kept from anything else.
async fn blocking(shim: &Path, rounds: usize) -> Result<(), Box<dyn Error>> {
    let mut first_polls = Vec::new();
    for _ in 0..rounds {
        let mut future = Box::pin(spawn(shim, launch("read line <&3")));
        let start = Instant::now();
        let waker = std::task::Waker::noop();
        let poll = future.as_mut().poll(&mut std::task::Context::from_waker(waker));
        first_polls.push(start.elapsed());
        drop(poll);
    }
    print("spawn, its first and longest poll", first_polls);
    Ok(())
}

fn launch(script: &str) -> Launch {
    Launch {
        program: PathBuf::from("/bin/sh"),
        args: vec!["-c".into(), script.into()],
        env: Vec::new(),
        cwd: PathBuf::from("/"),
        limits: Limits::default(),
        group: None,
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
