//! What is done, in order, to install, start, stop, ask and remove a service.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::launchd;
use crate::place::{Manager, Place, Scope};
use crate::service::{Service, definition};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Makes a directory and those above it.
    MakeDirectory(PathBuf),
    /// Replaces a file.
    Write {
        /// The file.
        path: PathBuf,
        /// Whether nobody but its owner may read it.
        private: bool,
        /// What is in it afterwards.
        text: String,
    },
    /// Removes a file that need not be there.
    Remove(PathBuf),
    /// Runs a program.
    Run {
        /// The program and its arguments.
        words: Vec<String>,
        /// Whether it may fail, as when what it undoes was not done.
        may_fail: bool,
        /// How often it is tried before it counts as failed.
        tries: u32,
    },
    /// Runs a program again and again until it fails, because what it asks for is gone.
    UntilGone {
        /// The program and its arguments.
        words: Vec<String>,
        /// How long that may take before it counts as failed.
        within: Duration,
    },
}

/// Steps, in order.
pub type Plan = Vec<Step>;

impl fmt::Display for Step {
    /// As a person would do it by hand.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeDirectory(path) => write!(f, "mkdir -p {}", path.display()),
            Self::Write { path, text, .. } => {
                writeln!(f, "write {}:", path.display())?;
                let lines = text.trim_end().lines();
                let lines: Vec<String> = lines.map(|line| format!("    {line}")).collect();
                f.write_str(&lines.join("\n"))
            }
            Self::Remove(path) => write!(f, "rm -f {}", path.display()),
            Self::Run { words, may_fail, .. } => {
                let rest = if *may_fail { "   # may fail" } else { "" };
                write!(f, "{}{rest}", words.join(" "))
            }
            Self::UntilGone { words, within } => {
                let (words, seconds) = (words.join(" "), within.as_secs());
                write!(f, "while {words}; do sleep 1; done   # {seconds} s at most")
            }
        }
    }
}

fn run(words: &[&str]) -> Step {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    Step::Run { words, may_fail: false, tries: 1 }
}

fn attempt(words: &[&str]) -> Step {
    match run(words) {
        Step::Run { words, tries, .. } => Step::Run { words, may_fail: true, tries },
        other => other,
    }
}

/// How much longer than its worker launchd may know a service.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(10);

/// `bootout` returns before the worker has ended: running calls may go on for a while, and launchd
/// knows the service, and takes no other by its name, until a moment after that. `ends_within` are
/// the seconds after which launchd kills the worker.
fn until_gone(place: &Place, ends_within: u64) -> Step {
    let within = Duration::from_secs(ends_within).saturating_add(FORGOTTEN_WITHIN);
    Step::UntilGone { words: query(place), within }
}

/// launchd may refuse a service for a moment still when it says that it does not know it.
fn bootstrap(place: &Place) -> Step {
    let (domain, file) = (place.domain(), place.file().to_string_lossy().into_owned());
    match run(&["launchctl", "bootstrap", &domain, &file]) {
        Step::Run { words, may_fail, .. } => Step::Run { words, may_fail, tries: 10 },
        other => other,
    }
}

/// A call of systemctl for a place.
fn systemctl(place: &Place, words: &[&str]) -> Vec<String> {
    let mut all = vec!["systemctl".to_owned()];
    if place.scope == Scope::User {
        all.push("--user".to_owned());
    }
    all.extend(words.iter().map(|word| (*word).to_owned()));
    all
}

fn system(place: &Place, words: &[&str]) -> Step {
    Step::Run { words: systemctl(place, words), may_fail: false, tries: 1 }
}

fn system_attempt(place: &Place, words: &[&str]) -> Step {
    Step::Run { words: systemctl(place, words), may_fail: true, tries: 1 }
}

/// Writes the definition, loads it and starts the service; one that runs is replaced. `before` is
/// the definition that is installed now, if one is: its worker may take as long to end as that says.
#[must_use]
pub fn install(service: &Service, before: Option<&str>) -> Plan {
    let place = &service.place;
    let file = place.file();
    let directory = file.parent().map(|it| Step::MakeDirectory(it.to_owned()));
    let mut plan: Plan = directory.into_iter().collect();
    // Addresses of packages may hold passwords.
    let private = !service.variables.is_empty();
    plan.push(Step::Write { path: file, private, text: definition(service) });
    match place.manager {
        Manager::Launchd => plan.extend([
            attempt(&["launchctl", "bootout", &place.target()]),
            until_gone(place, launchd::kill_after(before).max(service.kill_after())),
            run(&["launchctl", "enable", &place.target()]),
            // RunAtLoad starts it.
            bootstrap(place),
        ]),
        Manager::Systemd => plan.extend([
            system(place, &["daemon-reload"]),
            system(place, &["enable", place.name()]),
            system(place, &["restart", place.name()]),
        ]),
    }
    plan
}

/// Stops the service and takes everything back that [`install`] has done; what the worker keeps in
/// its state directory stays. `before` is the definition that is installed now.
#[must_use]
pub fn uninstall(place: &Place, before: Option<&str>) -> Plan {
    match place.manager {
        Manager::Launchd => vec![
            // First, so that who may not do this is told so before anything else.
            Step::Remove(place.file()),
            attempt(&["launchctl", "bootout", &place.target()]),
            until_gone(place, launchd::kill_after(before)),
        ],
        Manager::Systemd => vec![
            system_attempt(place, &["disable", "--now", place.name()]),
            Step::Remove(place.file()),
            system(place, &["daemon-reload"]),
            system_attempt(place, &["reset-failed", place.name()]),
        ],
    }
}

/// Starts a service that is installed, or does nothing if it runs.
#[must_use]
pub fn start(place: &Place) -> Plan {
    match place.manager {
        Manager::Launchd => {
            let file = place.file().to_string_lossy().into_owned();
            vec![
                // Fails if it is loaded already, which is as well.
                attempt(&["launchctl", "bootstrap", &place.domain(), &file]),
                run(&["launchctl", "kickstart", &place.target()]),
            ]
        }
        Manager::Systemd => vec![system(place, &["start", place.name()])],
    }
}

/// Tells a running service to end; it starts again at the next boot or login.
#[must_use]
pub fn stop(place: &Place) -> Plan {
    match place.manager {
        Manager::Launchd => vec![run(&["launchctl", "kill", "SIGTERM", &place.target()])],
        Manager::Systemd => vec![system(place, &["stop", place.name()])],
    }
}

/// The command whose output [`crate::Standing::read`] reads.
#[must_use]
pub fn query(place: &Place) -> Vec<String> {
    match place.manager {
        Manager::Launchd => ["launchctl", "print", &place.target()].map(str::to_owned).into(),
        Manager::Systemd => systemctl(
            place,
            &[
                "show",
                place.name(),
                "--property=LoadState,ActiveState,SubState,MainPID,ExecMainStatus,NRestarts,\
                 UnitFileState",
            ],
        ),
    }
}

/// The command that says whether a user's services run while the user is not logged in; nothing
/// where that is no question. [`crate::lingers`] reads its output.
#[must_use]
pub fn linger(place: &Place) -> Option<Vec<String>> {
    let asked = place.manager == Manager::Systemd && place.scope == Scope::User;
    let words = ["loginctl", "show-user", &place.account.name, "--property=Linger"];
    asked.then(|| words.map(str::to_owned).into())
}

/// The command that shows the end of the service's log, and what follows if wanted. `log` is the
/// file that [`crate::log_of`] finds; systemd keeps the log itself.
#[must_use]
pub fn logs(place: &Place, log: &Path, lines: u32, follow: bool) -> Vec<String> {
    let lines = lines.to_string();
    let mut words: Vec<String> = match place.manager {
        Manager::Launchd => ["tail", "-n", &lines].map(str::to_owned).into(),
        Manager::Systemd => {
            let unit = place.name();
            let scope = match place.scope {
                Scope::User => "--user-unit",
                Scope::System => "--unit",
            };
            ["journalctl", scope, unit, "--no-pager", "--lines", &lines].map(str::to_owned).into()
        }
    };
    match place.manager {
        Manager::Launchd => {
            // By name, so that a log that is moved away does not end it.
            words.extend(follow.then(|| "-F".to_owned()));
            words.push(log.to_string_lossy().into_owned());
        }
        Manager::Systemd => words.extend(follow.then(|| "--follow".to_owned())),
    }
    words
}
