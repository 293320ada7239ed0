//! Runs one program to its end: what it writes line by line, and nothing of it left.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::Command;

/// How much of a program's last output is kept, in bytes.
const TAIL_BYTES: usize = 8 * 1024;
/// Longer lines are cut into pieces, in bytes.
const LINE_BYTES: usize = 8 * 1024;

/// How a program ended.
#[derive(Debug)]
pub(super) enum Ended {
    Well,
    Badly,
    /// It was killed.
    TooLate,
}

/// Cuts what comes into lines, and remembers the last of them.
#[derive(Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
    pub(super) tail: String,
}

impl Lines {
    fn add(&mut self, bytes: &[u8], log: &mut (dyn FnMut(&str) + Send)) {
        for &byte in bytes {
            if byte != b'\n' && byte != b'\r' {
                self.partial.push(byte);
                if self.partial.len() < LINE_BYTES {
                    continue;
                }
            }
            self.end_line(log);
        }
    }

    fn end_line(&mut self, log: &mut (dyn FnMut(&str) + Send)) {
        let line = String::from_utf8_lossy(&self.partial).trim_end().to_owned();
        self.partial.clear();
        if line.is_empty() {
            return;
        }
        self.tail.push_str(&line);
        self.tail.push('\n');
        if self.tail.len() > 2 * TAIL_BYTES {
            let cut = self.tail.len() - TAIL_BYTES;
            let start = self.tail.bytes().skip(cut).position(|byte| byte == b'\n');
            self.tail.drain(..=start.map_or(0, |offset| cut + offset));
        }
        log(&line);
    }
}

/// Runs the program; `log` gets each line of what it writes. Dropping the future kills it, and the
/// process group it is in.
pub(super) async fn run(
    mut command: Command,
    limit: Duration,
    lines: &mut Lines,
    log: &mut (dyn FnMut(&str) + Send),
) -> io::Result<Ended> {
    // One pipe for both, so that errors stand where they were made.
    let (reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
    // It has the ends that are written to.
    drop(command);
    let mut group = Group(child.id());
    let mut output = pipe::Receiver::from_owned_fd(reader.into())?;
    let whole = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let count = output.read(&mut buffer).await?;
            if count == 0 {
                lines.end_line(log);
                return child.wait().await;
            }
            lines.add(&buffer[..count], log);
        }
    };
    let Ok(status) = tokio::time::timeout(limit, whole).await else { return Ok(Ended::TooLate) };
    group.0 = None;
    Ok(if status?.success() { Ended::Well } else { Ended::Badly })
}

/// Kills a process group unless told that it has ended.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let leader = self.0.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1);
        if let Some(pid) = leader {
            // It may have ended by itself a moment ago.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, limit: Duration) -> (Ended, Vec<String>, String) {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        let (mut seen, mut lines) = (Vec::new(), Lines::default());
        let mut log = |line: &str| seen.push(line.to_owned());
        let ended = run(command, limit, &mut lines, &mut log).await.unwrap();
        (ended, seen, lines.tail)
    }

    #[tokio::test]
    async fn lines_come_in_the_order_they_were_written() {
        let script = "echo a; echo b >&2; printf 'c\\n\\nd'; exit 3";
        let (ended, seen, tail) = shell(script, Duration::from_secs(60)).await;
        assert!(matches!(ended, Ended::Badly));
        assert_eq!(
            (seen, tail.as_str()),
            (vec!["a".into(), "b".into(), "c".into(), "d".into()], "a\nb\nc\nd\n")
        );
    }

    #[tokio::test]
    async fn what_takes_too_long_is_killed_with_all_it_started() {
        let (ended, seen, _) = shell("echo up; sleep 600 & wait", Duration::from_millis(300)).await;
        assert!(matches!(ended, Ended::TooLate));
        assert_eq!(seen, ["up"]);
    }
}
