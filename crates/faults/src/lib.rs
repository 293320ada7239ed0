//! Faults on purpose: named points at which a debug build dies or waits when a test says so.
//!
//! The environment variable `METAL9_FAULTS` names a file. Each of its lines is a fault:
//!
//! ```text
//! end-committed kill 3
//! commit delay 250
//! ```
//!
//! The first kills the process, as `kill -9` does, when the point `end-committed` is passed for the
//! third time; the second holds up whoever passes `commit` for 250 ms. The file is read whenever a
//! point is passed, so a test can change it while the process runs. Without the variable a point
//! costs a load; in a release build it costs nothing, since it is not there.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The variable that names the file of faults.
pub const VARIABLE: &str = "METAL9_FAULTS";

static FILE: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from));

/// How often each point was passed since the process started.
static PASSED: LazyLock<Mutex<HashMap<&'static str, u64>>> = LazyLock::new(Mutex::default);

/// What happens at a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// The process is killed when the point is passed this often.
    Kill(u64),
    /// Whoever passes waits.
    Delay(Duration),
}

/// Passes a point: usually returns at once.
pub async fn point(name: &'static str) {
    match due(name) {
        Some(Due::Death) => {
            die(name);
            std::future::pending::<()>().await;
        }
        Some(Due::Pause(time)) => tokio::time::sleep(time).await,
        None => {}
    }
}

/// Passes a point in code that holds up its thread while it works.
pub fn point_blocking(name: &'static str) {
    match due(name) {
        Some(Due::Death) => {
            die(name);
            loop {
                std::thread::park();
            }
        }
        Some(Due::Pause(time)) => std::thread::sleep(time),
        None => {}
    }
}

/// What is to happen this time.
enum Due {
    Death,
    Pause(Duration),
}

fn due(name: &'static str) -> Option<Due> {
    if !cfg!(debug_assertions) {
        return None;
    }
    match fault_at(FILE.as_deref()?, name)? {
        Fault::Kill(nth) => (passed(name) == nth).then_some(Due::Death),
        Fault::Delay(time) => Some(Due::Pause(time)),
    }
}

/// The signal reaches this thread a moment later; the caller does nothing in that moment.
fn die(name: &'static str) {
    tracing::warn!(point = name, "killed on purpose");
    let _ = kill(Pid::this(), Signal::SIGKILL);
}

/// Counts this time too.
fn passed(name: &'static str) -> u64 {
    let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    let count = passed.entry(name).or_default();
    *count += 1;
    *count
}

fn fault_at(path: &Path, name: &str) -> Option<Fault> {
    parse(&std::fs::read_to_string(path).ok()?, name)
}

fn parse(text: &str, name: &str) -> Option<Fault> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        if words.next() != Some(name) {
            return None;
        }
        let (action, number) = (words.next()?, words.next().unwrap_or("1").parse().ok()?);
        match action {
            "kill" => Some(Fault::Kill(number)),
            "delay" => Some(Fault::Delay(Duration::from_millis(number))),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_found_by_its_point() {
        let text = "# for a test\ncommit delay 250\nend-committed kill\nassigned kill 3\nx y z\n";
        assert_eq!(parse(text, "commit"), Some(Fault::Delay(Duration::from_millis(250))));
        assert_eq!(parse(text, "end-committed"), Some(Fault::Kill(1)));
        assert_eq!(parse(text, "assigned"), Some(Fault::Kill(3)));
        assert_eq!(parse(text, "x"), None);
        assert_eq!(parse(text, "elsewhere"), None);
    }

    #[test]
    fn the_file_is_read_again_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("faults");
        assert_eq!(fault_at(&path, "commit"), None);
        std::fs::write(&path, "commit kill 2").unwrap();
        assert_eq!(fault_at(&path, "commit"), Some(Fault::Kill(2)));
        std::fs::write(&path, "").unwrap();
        assert_eq!(fault_at(&path, "commit"), None);
    }

    #[tokio::test]
    async fn without_the_variable_a_point_does_nothing() {
        point("commit").await;
        point_blocking("commit");
    }
}
