//! Carrying out what the pure plans say.

use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use metal9_service::{Plan, Step, advice};

use crate::failure::Failure;
use crate::private_file;

/// How long to wait before a step is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Carries out a plan, step by step.
///
/// # Errors
///
/// At the first step that fails and may not.
pub(super) fn apply(plan: &Plan) -> Result<(), Failure> {
    plan.iter().try_for_each(step)
}

fn step(step: &Step) -> Result<(), Failure> {
    match step {
        Step::MakeDirectory(path) => files("make", path, std::fs::create_dir_all(path)),
        Step::Write { path, private, text } => files("write", path, write(path, *private, text)),
        Step::Remove(path) => match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => files("remove", path, removed),
        },
        Step::Run { words, may_fail, tries } => run(words, *may_fail, *tries),
    }
}

fn files(what: &str, path: &Path, done: io::Result<()>) -> Result<(), Failure> {
    done.map_err(|error| {
        let denied = error.kind() == io::ErrorKind::PermissionDenied;
        let failure =
            Failure::request(anyhow!(error).context(format!("cannot {what} `{}`", path.display())));
        match denied {
            true => failure.hint("the machine's own service is changed with `sudo`"),
            false => failure,
        }
    })
}

/// Replaces a file in one step.
fn write(path: &Path, private: bool, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    private_file::write(path, text)?;
    let mode = if private { 0o600 } else { 0o644 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

fn run(words: &[String], may_fail: bool, tries: u32) -> Result<(), Failure> {
    let mut left = tries;
    loop {
        left = left.saturating_sub(1);
        let output = match ask(words) {
            Err(_) if may_fail => return Ok(()),
            output => output?,
        };
        if output.status.success() || may_fail {
            tracing::debug!(command = words.join(" "), status = %output.status, "done");
            return Ok(());
        }
        if left == 0 {
            return Err(refused(words, &output));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Runs a program of the service manager and gives what it says.
///
/// # Errors
///
/// If it is not there.
pub(super) fn ask(words: &[String]) -> Result<Output, Failure> {
    let (program, arguments) =
        words.split_first().ok_or_else(|| Failure::ours(anyhow!("a command without words")))?;
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    output.with_context(|| format!("cannot run `{}`", words.join(" "))).map_err(|error| {
        Failure::request(error).hint(
            "this machine has no service manager that metal9 knows; let whatever starts programs \
             here run `metal9 worker run`",
        )
    })
}

fn refused(words: &[String], output: &Output) -> Failure {
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    let error = match said {
        "" => anyhow!("`{}` ended with {}", words.join(" "), output.status),
        said => anyhow!("{said}").context(format!("`{}` failed", words.join(" "))),
    };
    match advice(said) {
        Some(advice) => Failure::request(error).hint(advice),
        None => Failure::request(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_plan_is_carried_out_in_order_until_a_step_fails() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a/unit");
        let fails = |may_fail| Step::Run { words: words("false with words"), may_fail, tries: 2 };
        let plan = vec![
            Step::MakeDirectory(root.path().join("a")),
            Step::Write { path: file.clone(), private: false, text: "text".into() },
            fails(true),
            fails(false),
            Step::Remove(file.clone()),
        ];
        let error = apply(&plan).unwrap_err().to_string();
        assert!(error.contains("false with words"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "text");
        apply(&vec![Step::Remove(file.clone()), Step::Remove(file.clone())]).unwrap();
        assert!(!file.exists());
    }

    #[test]
    fn a_service_manager_that_is_not_there_is_named() {
        let error = ask(&words("no-such-manager x")).unwrap_err().to_string();
        assert!(error.contains("no-such-manager x") && error.contains("hint:"), "{error}");
    }
}
