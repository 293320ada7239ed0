//! Runs one program to its end: what it writes line by line, and nothing of it left.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use metal9_env::{Lines, ProcessGroup};
use tokio::net::unix::pipe;
use tokio::process::Command;

/// How a program ended.
#[derive(Debug)]
pub(super) enum Ended {
    Well,
    Badly,
    /// It was killed.
    TooLate,
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
    let mut group = ProcessGroup::of(&child);
    let output = pipe::Receiver::from_owned_fd(reader.into())?;
    let whole = async {
        lines.read(output, log).await?;
        child.wait().await
    };
    let Ok(status) = tokio::time::timeout(limit, whole).await else { return Ok(Ended::TooLate) };
    group.has_ended();
    Ok(if status?.success() { Ended::Well } else { Ended::Badly })
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
