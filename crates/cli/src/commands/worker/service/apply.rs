//! Carrying out what the pure plans say.

use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use metal9_service::{Plan, Step, advice};

use crate::failure::Failure;
use crate::private_file;
use crate::talk::Spinner;

/// How long to wait before a step is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// How often to ask whether something is gone.
const LOOK_EVERY: Duration = Duration::from_millis(200);

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
        Step::UntilGone { words, within } => until_gone(words, *within),
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

fn until_gone(words: &[String], within: Duration) -> Result<(), Failure> {
    let spinner = Spinner::start("waiting for the worker to end");
    let began = Instant::now();
    while ask(words)?.status.success() {
        if began.elapsed() > within {
            let (words, seconds) = (words.join(" "), within.as_secs());
            let error = anyhow!("the old worker has not ended within {seconds} s: see `{words}`");
            return Err(Failure::request(error).hint("once it has, run this command again"));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    drop(spinner);
    Ok(())
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
    use std::os::unix::fs::PermissionsExt;

    use metal9_service::{Account, Manager, Place, Scope, Service, plans};

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

    /// A launchd that knows a service for a few questions longer after `bootout` has returned, and
    /// takes none by its name until then.
    const LAUNCHCTL: &str = r#"#!/bin/sh
cd "${0%/*}" || exit 1
echo "$*" >> said
case "$1" in
bootout) test -f loaded || exit 3; echo 4 > leaving ;;
print)
    test -f loaded || { echo 'Could not find service' >&2; exit 113; }
    test -f leaving || exit 0
    left=$(($(cat leaving) - 1)); echo $left > leaving
    test $left -gt 0 || rm loaded leaving ;;
bootstrap)
    test ! -f loaded || { echo 'Bootstrap failed: 5: Input/output error' >&2; exit 5; }
    cp "$3" loaded ;;
esac
"#;

    /// A plan with another program in the place of `launchctl`.
    fn by(launchctl: &Path, plan: Plan) -> Plan {
        let other = |mut words: Vec<String>| {
            words[0] = launchctl.to_string_lossy().into_owned();
            words
        };
        let steps = plan.into_iter().map(|step| match step {
            Step::Run { words, may_fail, tries } => {
                Step::Run { words: other(words), may_fail, tries }
            }
            Step::UntilGone { words, within } => Step::UntilGone { words: other(words), within },
            files => files,
        });
        steps.collect()
    }

    #[test]
    fn a_worker_that_is_replaced_or_removed_has_ended_before_the_next_step() {
        let root = tempfile::tempdir().unwrap();
        let launchctl = root.path().join("launchctl");
        write(&launchctl, false, LAUNCHCTL).unwrap();
        std::fs::set_permissions(&launchctl, PermissionsExt::from_mode(0o755)).unwrap();
        let account = Account { name: "ada".into(), uid: 501, home: root.path().into() };
        let place = Place { manager: Manager::Launchd, scope: Scope::User, account };
        let service = |program: &str| Service {
            place: place.clone(),
            program: program.into(),
            config: None,
            state: root.path().join("state"),
            path: Vec::new(),
            variables: Vec::new(),
            drain: Duration::from_secs(10),
            makes_containers: false,
        };
        let loaded = root.path().join("loaded");
        apply(&by(&launchctl, plans::install(&service("/old"), None))).unwrap();
        assert!(std::fs::read_to_string(&loaded).unwrap().contains("/old"));
        apply(&by(&launchctl, plans::install(&service("/new"), None))).unwrap();
        assert!(std::fs::read_to_string(&loaded).unwrap().contains("/new"));
        apply(&by(&launchctl, plans::uninstall(&place, None))).unwrap();
        assert!(!loaded.exists() && !place.file().exists());
        let said = std::fs::read_to_string(root.path().join("said")).unwrap();
        let tries = said.lines().filter(|line| line.starts_with("bootstrap")).count();
        assert_eq!(tries, 2, "launchd refuses nothing:\n{said}");
    }

    #[test]
    fn a_worker_that_does_not_end_is_told_of() {
        let error = until_gone(&words("true is-there"), Duration::ZERO).unwrap_err().to_string();
        assert!(
            error.contains("true is-there") && error.contains("run this command again"),
            "{error}"
        );
    }

    #[test]
    fn a_service_manager_that_is_not_there_is_named() {
        let error = ask(&words("no-such-manager x")).unwrap_err().to_string();
        assert!(error.contains("no-such-manager x") && error.contains("hint:"), "{error}");
    }
}
