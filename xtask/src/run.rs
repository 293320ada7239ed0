//! Running other programs, with a sign of life when they take their time.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How often a program that is still running is mentioned.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// Runs a step whose output is shown only if it fails.
///
/// # Errors
///
/// If the program cannot be started or fails; the output is on stderr by then.
pub(crate) fn quietly(what: &str, command: &mut Command) -> Result<()> {
    let log = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    let status = logged(what, command, log.path())?;
    if !status.success() {
        eprint!("{}", fs::read_to_string(log.path()).unwrap_or_default());
        bail!("{what} failed: {status}");
    }
    Ok(())
}

/// Runs a program with its output in `log`, and returns how it ended.
///
/// # Errors
///
/// If the program cannot be started or the log cannot be written.
pub(crate) fn logged(what: &str, command: &mut Command, log: &Path) -> Result<ExitStatus> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let copy = file.try_clone().context("cannot share the log")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(copy)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let started = Instant::now();
    loop {
        if let Some(status) = wait(&mut child, SIGN_OF_LIFE)? {
            return Ok(status);
        }
        println!("… {what}: {} s so far", started.elapsed().as_secs());
    }
}

/// Waits for a program's end, but no longer than `limit`.
///
/// # Errors
///
/// If the system cannot say how the program is.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let until = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().context("cannot ask how a program is")? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// What a program prints, if it runs and succeeds.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let done = command.stdin(Stdio::null()).output().ok().filter(|done| done.status.success())?;
    Some(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The same command for when the machine has better to do.
pub(crate) fn nicely(command: &Command) -> Command {
    let mut nice = Command::new("nice");
    nice.args(["-n", "19"]).arg(command.get_program()).args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        nice.current_dir(directory);
    }
    nice
}

/// The cargo that runs this program, working in the repository.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(crate::root());
    command
}
