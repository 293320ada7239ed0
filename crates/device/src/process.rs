//! Starting a process and waiting for it, for a while.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// More than anything asked for here prints, so that what is wrong does not fill the memory.
const MAX_BYTES: u64 = 1024 * 1024;

/// Runs a command without input and collects what it prints; nothing if it does not end in time,
/// when it is killed.
///
/// # Errors
///
/// If it cannot be started.
pub(crate) fn output_within(
    mut command: Command,
    patience: Duration,
) -> io::Result<Option<Output>> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let Some(status) = wait(&mut child, Instant::now() + patience)? else {
        // It may have ended just now; then there is nothing to kill.
        let _ = child.kill();
        let _ = child.wait();
        return Ok(None);
    };
    // Some other process may hold the pipes open.
    let whole = |output: &mpsc::Receiver<Vec<u8>>| output.recv_timeout(patience).ok();
    let stderr = whole(&stderr).unwrap_or_default();
    Ok(whole(&stdout).map(|stdout| Output { status, stdout, stderr }))
}

/// Waits for a process to end, until the deadline.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        match child.try_wait()? {
            None if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
            ended => return Ok(ended),
        }
    }
}

/// Reads to the end on a thread of its own.
fn collect(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let reader = thread::Builder::new().name("process-output".to_owned());
    // Without a thread, nothing is sent, which reads as silence.
    let _ = reader.spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            // What was read before an error is worth as much as without one.
            let _ = pipe.take(MAX_BYTES).read_to_end(&mut bytes);
        }
        let _ = sender.send(bytes);
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, millis: u64) -> Option<Output> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        output_within(command, Duration::from_millis(millis)).unwrap()
    }

    #[test]
    fn what_a_process_prints_is_collected() {
        let output = shell("echo out; echo err >&2; exit 3", 10_000).unwrap();
        assert_eq!(
            (output.stdout.as_slice(), output.stderr.as_slice()),
            (&b"out\n"[..], &b"err\n"[..])
        );
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn a_process_that_hangs_is_not_waited_for() {
        assert!(shell("while :; do :; done", 50).is_none());
        assert!(shell("exec >&- 2>&-; while :; do :; done", 50).is_none());
    }

    #[test]
    fn a_process_that_prints_without_end_is_ended() {
        assert!(shell("while :; do echo more; done", 500).is_none_or(|it| !it.status.success()));
    }

    #[test]
    fn a_program_that_is_not_there_cannot_be_started() {
        assert!(output_within(Command::new("/not/there"), Duration::ZERO).is_err());
    }
}
