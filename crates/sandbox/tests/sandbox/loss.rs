//! Either side dies without a word.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Fifo, Obedient, fixture, soon};

#[tokio::test]
async fn dropping_the_process_kills_the_job() {
    let mut job = Obedient::start().await;
    job.tell_to_start("hold").await;
    job.tell_to_start("daemon").await;
    let Obedient { process, channel: _channel, mut stdout } = job;
    drop(process);
    let mut bytes = Vec::new();
    let end = tokio::io::AsyncReadExt::read_to_end(&mut stdout, &mut bytes);
    soon("the end of all processes", end).await.unwrap();
}

#[tokio::test]
async fn the_death_of_the_worker_kills_the_job() {
    let fifo = Fifo::new();
    let mut worker = Command::new(fixture())
        .args(["worker".as_ref(), fifo.path.as_os_str()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = worker.stdout.take().unwrap();
    fifo.end(3, move || {
        // Only once the job's start is over for the worker too.
        BufReader::new(stdout).read_line(&mut String::new()).unwrap();
        worker.kill().unwrap();
        worker.wait().unwrap();
    })
    .await;
}

#[tokio::test]
async fn signals_meant_for_the_worker_do_not_end_the_supervisor() {
    let mut job = Obedient::start().await;
    job.tell_to_start("daemon").await;
    let supervisor = Pid::from_raw(job.process.pid().cast_signed());
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        kill(supervisor, signal).unwrap();
    }
    job.tell("allocate 1").await;
    soon("mark", job.process.mark()).await.unwrap();
    soon("kill", job.process.kill()).await.unwrap();
    job.all_gone().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_supervisor_that_is_killed_takes_the_program_with_it() {
    let mut job = Obedient::start().await;
    // In the program's own group, which is all that can be found now.
    job.tell_to_start("hold").await;
    kill(Pid::from_raw(job.process.pid().cast_signed()), Signal::SIGKILL).unwrap();
    assert_eq!(soon("exit", job.process.wait()).await, metal9_sandbox::Exit::Lost);
    job.all_gone().await;
    assert!(soon("reap", job.process.reap()).await.is_err());
    assert!(soon("kill", job.process.kill()).await.is_err());
}
