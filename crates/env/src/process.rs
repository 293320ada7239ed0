//! Runs one program to its end: lines as they come, a bounded memory of them, no orphans.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::EnvError;
use crate::output::{Lines, ProcessGroup};

/// More standard output than this is not read, in bytes.
const STDOUT_BYTES: u64 = 32 * 1024 * 1024;

/// What a program reads.
#[derive(Debug)]
pub(crate) enum Input {
    /// Nothing.
    Nothing,
    /// This text.
    Text(String),
    /// An open file. A locked one stays locked until the program has ended, even if this process
    /// is killed before it.
    Held(File),
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `true` for exit code 0.
    pub(crate) success: bool,
    /// All it wrote to standard output.
    pub(crate) stdout: String,
    /// The last of what it wrote to standard error; how it ended if it wrote nothing.
    pub(crate) tail: String,
}

/// Runs the program; `on_line` gets each line of its standard error without the newline.
/// Dropping the future kills the program and all it started.
pub(crate) async fn run(
    mut command: Command,
    input: Input,
    on_line: &mut (dyn FnMut(&str) + Send),
) -> Result<Ended, EnvError> {
    let program = Path::new(command.as_std().get_program()).to_owned();
    let failed =
        |source: io::Error| EnvError::Run { program: program.clone(), source: Arc::new(source) };
    let (stdin, text) = match input {
        Input::Nothing => (Stdio::null(), None),
        Input::Text(text) => (Stdio::piped(), Some(text)),
        Input::Held(file) => (Stdio::from(file), None),
    };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Its own group, so that dropping the future also ends the compilers a build has started.
    let mut child = command.process_group(0).kill_on_drop(true).spawn().map_err(failed)?;
    let mut group = ProcessGroup::of(&child);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());

    let feed = async move {
        if let (Some(mut stdin), Some(text)) = (stdin, text) {
            // A program that stops reading says why on its standard error.
            let _ = stdin.write_all(text.as_bytes()).await;
        }
    };
    let collect = async move {
        let mut bytes = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(STDOUT_BYTES).read_to_end(&mut bytes).await?;
        }
        Ok::<_, io::Error>(bytes)
    };
    let listen = async move {
        let mut lines = Lines::default();
        if let Some(stderr) = stderr {
            lines.read(stderr, on_line).await?;
        }
        Ok::<_, io::Error>(lines.tail)
    };
    let ((), bytes, tail, status) = tokio::join!(feed, collect, listen, child.wait());
    group.has_ended();

    let status = status.map_err(failed)?;
    let mut tail = tail.map_err(failed)?.trim().to_owned();
    if tail.is_empty() && !status.success() {
        tail = status.to_string();
    }
    let stdout = String::from_utf8_lossy(&bytes.map_err(failed)?).into_owned();
    Ok(Ended { success: status.success(), stdout, tail })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::TAIL_BYTES;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn lines_come_one_by_one_and_only_the_last_are_kept() {
        let mut count = 0;
        let script = "i=0; while [ $i -lt 3000 ]; do echo line-$i >&2; i=$((i+1)); done; exit 3";
        let ended = run(shell(script), Input::Nothing, &mut |_: &str| count += 1).await.unwrap();
        assert_eq!(count, 3000);
        assert!(!ended.success);
        assert!(ended.tail.ends_with("line-2999"), "{}", ended.tail);
        assert!(ended.tail.len() <= 2 * TAIL_BYTES);
        assert!(ended.tail.starts_with("line-"));
    }

    #[tokio::test]
    async fn text_goes_in_and_comes_out() {
        let input = Input::Text("six\n".into());
        let ended = run(shell("cat"), input, &mut |_: &str| ()).await.unwrap();
        assert!(ended.success);
        assert_eq!(ended.stdout, "six\n");
    }

    #[tokio::test]
    async fn a_silent_failure_says_how_it_ended() {
        let ended = run(shell("exit 4"), Input::Nothing, &mut |_: &str| ()).await.unwrap();
        assert!(ended.tail.contains('4'), "{}", ended.tail);
    }

    #[tokio::test]
    async fn a_dropped_run_kills_what_the_program_started() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("held");
        let held = File::create(&path).unwrap();
        held.lock().unwrap();
        // The grandchild inherits the locked file too, so the lock is free only once it is gone.
        let script = "sleep 600 <&0 & echo up >&2; wait";
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let mut on_line = move |_: &str| {
            let _ = sender.try_send(());
        };
        let mut running = Box::pin(run(shell(script), Input::Held(held), &mut on_line));
        tokio::select! {
            _ = &mut running => panic!("ended by itself"),
            _ = receiver.recv() => {}
        }
        assert!(File::open(&path).unwrap().try_lock().is_err());
        drop(running);
        let free = tokio::task::spawn_blocking(move || File::open(&path)?.lock());
        tokio::time::timeout(std::time::Duration::from_secs(20), free)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}
