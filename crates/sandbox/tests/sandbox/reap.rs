//! Who is killed and who is spared.

use metal9_sandbox::Exit;

use crate::support::{Obedient, exists, launch, soon, start};

#[tokio::test]
async fn reap_kills_what_was_started_since_the_mark() {
    let mut job = Obedient::start().await;
    let before = job.tell_to_start("hold").await;
    soon("mark", job.process.mark()).await.unwrap();
    let after = job.tell_to_start("hold").await;

    assert_eq!(soon("reap", job.process.reap()).await.unwrap(), 1);
    assert!(exists(before));
    assert_eq!(soon("reap", job.process.reap()).await.unwrap(), 0);
    // The program is its parent and may leave it a zombie, but the program still answers.
    assert!(!runs(after));
    job.tell("allocate 1").await;
}

#[tokio::test]
async fn without_a_mark_only_the_program_is_spared() {
    let mut job = Obedient::start().await;
    job.tell_to_start("hold").await;
    assert_eq!(soon("reap", job.process.reap()).await.unwrap(), 1);
    job.tell("allocate 1").await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_daemon_does_not_escape_reap() {
    let mut job = Obedient::start().await;
    soon("mark", job.process.mark()).await.unwrap();
    let daemon = job.tell_to_start("daemon").await;
    assert_eq!(soon("reap", job.process.reap()).await.unwrap(), 1);
    assert!(!exists(daemon));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_daemon_started_before_the_mark_survives_reap() {
    let mut job = Obedient::start().await;
    let daemon = job.tell_to_start("daemon").await;
    soon("mark", job.process.mark()).await.unwrap();
    assert_eq!(soon("reap", job.process.reap()).await.unwrap(), 0);
    assert!(exists(daemon));
}

#[tokio::test]
async fn the_children_of_any_thread_are_found() {
    let mut job = Obedient::start().await;
    job.tell("threads 20").await;
    soon("mark", job.process.mark()).await.unwrap();
    job.tell_to_start("hold-in-thread").await;
    assert_eq!(soon("reap", job.process.reap()).await.unwrap(), 1);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn reap_ends_processes_that_keep_replacing_themselves() {
    let mut job = Obedient::start().await;
    soon("mark", job.process.mark()).await.unwrap();
    job.tell_to_hop(50).await;
    assert!(soon("reap", job.process.reap()).await.unwrap() > 0);
    assert_eq!(soon("reap", job.process.reap()).await.unwrap(), 0);
    job.tell("allocate 1").await;
}

#[tokio::test]
async fn kill_ends_the_program_and_all_it_started() {
    let mut job = Obedient::start().await;
    let child = job.tell_to_start("hold").await;
    let daemon = job.tell_to_start("daemon").await;
    soon("mark", job.process.mark()).await.unwrap();
    soon("kill", job.process.kill()).await.unwrap();
    assert!(!exists(child) && !exists(daemon));
    assert_eq!(soon("exit", job.process.wait()).await, Exit::Signal(libc::SIGKILL));
    soon("kill", job.process.kill()).await.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn kill_ends_two_hundred_processes_that_keep_replacing_themselves() {
    let mut job = Obedient::start().await;
    job.tell_to_hop(200).await;
    soon("kill", job.process.kill()).await.unwrap();
    job.all_gone().await;
}

#[tokio::test]
async fn the_end_of_the_program_is_the_end_of_all_it_started() {
    let mut job = Obedient::start().await;
    job.tell_to_start("hold").await;
    job.tell_to_start("daemon").await;
    job.send("exit 4").await;
    assert_eq!(soon("exit", job.process.wait()).await, Exit::Code(4));
    job.all_gone().await;
}

#[tokio::test]
async fn a_program_that_ignores_signals_is_killed() {
    let mut process =
        start(crate::support::shell("trap '' TERM INT HUP; echo; sleep 1000; sleep 1000")).await;
    let mut stdout = process.take_stdout().unwrap();
    soon("ready", tokio::io::AsyncReadExt::read_u8(&mut stdout)).await.unwrap();
    soon("terminate", process.terminate()).await.unwrap();
    soon("kill", process.kill()).await.unwrap();
    assert_eq!(soon("exit", process.wait()).await, Exit::Signal(libc::SIGKILL));
}

#[tokio::test]
async fn a_stopped_program_is_killed() {
    let process = start(launch(&["raise", &libc::SIGSTOP.to_string()])).await;
    soon("kill", process.kill()).await.unwrap();
    assert_eq!(soon("exit", process.wait()).await, Exit::Signal(libc::SIGKILL));
}

/// Whether a process exists and is no zombie.
fn runs(pid: i32) -> bool {
    let state = std::process::Command::new("ps")
        .args(["-o", "state=", "-p", &pid.to_string()])
        .output()
        .unwrap();
    let state = String::from_utf8(state.stdout).unwrap();
    !matches!(state.trim().chars().next(), None | Some('Z'))
}
