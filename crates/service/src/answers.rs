//! What service managers answer.

use serde::Serialize;

use crate::place::Manager;

/// How a service stands, by its service manager's word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The service manager knows it.
    pub loaded: bool,
    /// A process of it runs.
    pub running: bool,
    /// Which.
    pub pid: Option<u32>,
    /// The service manager's own word for what it does.
    pub state: String,
    /// How the last process ended, if one has.
    pub last_exit: Option<String>,
    /// How often the service manager has started it, or started it again.
    pub starts: Option<u64>,
    /// launchd's class of the process; anything but `interactive` is slow.
    pub spawn_type: Option<String>,
    /// It starts at boot or login.
    pub enabled: Option<bool>,
}

impl Standing {
    /// Reads the answer to [`crate::plans::query`]. `succeeded` is whether that command did:
    /// launchd's fails for a service that it does not know.
    #[must_use]
    pub fn read(manager: Manager, succeeded: bool, answer: &str) -> Self {
        match manager {
            Manager::Launchd if succeeded => read_launchd(answer),
            Manager::Systemd if succeeded => read_systemd(answer),
            _ => Self { state: "not loaded".to_owned(), ..Self::default() },
        }
    }
}

/// The first line `key = value` directly within the service; deeper ones are of its parts.
fn read_launchd(answer: &str) -> Standing {
    let mut depth = 0_usize;
    let mut fields = Vec::new();
    for line in answer.lines() {
        let text = line.trim();
        if text == "}" {
            depth = depth.saturating_sub(1);
        } else if text.ends_with('{') {
            depth += 1;
        } else if let (1, Some((key, value))) = (depth, text.split_once(" = ")) {
            fields.push((key, value));
        }
    }
    let field = |name| fields.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let state = field("state").unwrap_or("unknown");
    let pid = field("pid").and_then(|pid| pid.parse().ok());
    let ended = |value: &&str| !value.starts_with("(never");
    Standing {
        loaded: true,
        // One that was told to end, and lets its calls finish, is `SIGTERMed` until it has.
        running: state == "running" || pid.is_some(),
        pid,
        state: state.to_owned(),
        last_exit: field("last exit code").filter(ended).map(str::to_owned),
        starts: field("runs").and_then(|runs| runs.parse().ok()),
        spawn_type: field("spawn type")
            .map(|kind| kind.split(" (").next().unwrap_or(kind).to_owned()),
        enabled: None,
    }
}

fn read_systemd(answer: &str) -> Standing {
    let field = |name: &str| {
        let mut lines = answer.lines().filter_map(|line| line.split_once('='));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let number = |name| field(name).and_then(|value| value.parse::<u64>().ok());
    let (active, sub) = (field("ActiveState").unwrap_or(""), field("SubState").unwrap_or(""));
    let pid = number("MainPID").filter(|pid| *pid != 0).and_then(|pid| u32::try_from(pid).ok());
    Standing {
        loaded: field("LoadState") == Some("loaded"),
        running: active == "active" && sub == "running",
        pid,
        state: if sub.is_empty() { active.to_owned() } else { format!("{active} ({sub})") },
        last_exit: number("ExecMainStatus").filter(|code| *code != 0).map(|code| code.to_string()),
        starts: number("NRestarts"),
        spawn_type: None,
        enabled: field("UnitFileState").map(|state| state == "enabled"),
    }
}

/// Whether a user's services go on while the user is not logged in, from the answer to
/// [`crate::plans::linger`]; nothing if it does not say.
#[must_use]
pub fn lingers(answer: &str) -> Option<bool> {
    match answer.trim().strip_prefix("Linger=")? {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the form that `launchctl print` has on macOS 15; not taken from a machine.
    const RUNNING: &str = "\
gui/501/metal9.worker = {
\tactive count = 1
\tpath = /Users/me/Library/LaunchAgents/metal9.worker.plist
\ttype = LaunchAgent
\tstate = running

\tprogram = /usr/local/bin/metal9
\targuments = {
\t\t/usr/local/bin/metal9
\t\tworker
\t}

\tenvironment = {
\t\tstate => nonsense
\t\tXPC_SERVICE_NAME => metal9.worker
\t}

\tdomain = gui/501 [100015]
\tminimum runtime = 10
\texit timeout = 30
\truns = 3
\tpid = 4242
\tlast exit code = 70

\tsemaphores = {
\t\tstate = waiting
\t}

\tspawn type = interactive (4)
\tjetsam priority = 40
\tproperties = runatload | inferred program
}
";

    #[test]
    fn launchds_answer_is_read() {
        let standing = Standing::read(Manager::Launchd, true, RUNNING);
        assert!(standing.loaded && standing.running);
        assert_eq!((standing.pid, standing.starts), (Some(4242), Some(3)));
        assert_eq!(standing.last_exit.as_deref(), Some("70"));
        assert_eq!(standing.spawn_type.as_deref(), Some("interactive"));
    }

    #[test]
    fn a_worker_that_lets_its_calls_finish_still_runs() {
        let ending = RUNNING.replace("\tstate = running", "\tstate = SIGTERMed");
        let standing = Standing::read(Manager::Launchd, true, &ending);
        assert!(standing.running);
        assert_eq!((standing.pid, &*standing.state), (Some(4242), "SIGTERMed"));
    }

    #[test]
    fn a_service_that_launchd_has_stopped_or_never_started_says_so() {
        let stopped = RUNNING.replace("\tstate = running", "\tstate = not running");
        let stopped = stopped.replace("\tpid = 4242\n", "").replace("= 70", "= (never exited)");
        let standing = Standing::read(Manager::Launchd, true, &stopped);
        assert!(standing.loaded && !standing.running);
        assert_eq!((standing.pid, standing.last_exit), (None, None));
        let unknown = "Could not find service \"metal9.worker\" in domain for user gui: 501\n";
        let standing = Standing::read(Manager::Launchd, false, unknown);
        assert!(!standing.loaded && !standing.running);
    }

    #[test]
    fn systemds_answer_is_read() {
        let text = "LoadState=loaded\nActiveState=active\nSubState=running\nMainPID=77\n\
                    ExecMainStatus=0\nNRestarts=1\nUnitFileState=enabled\n";
        let standing = Standing::read(Manager::Systemd, true, text);
        assert!(standing.loaded && standing.running && standing.enabled == Some(true));
        assert_eq!((standing.pid, standing.starts), (Some(77), Some(1)));
        assert_eq!(standing.last_exit, None);
        let text = "LoadState=loaded\nActiveState=failed\nSubState=failed\nMainPID=0\n\
                    ExecMainStatus=70\n";
        let standing = Standing::read(Manager::Systemd, true, text);
        assert!(!standing.running && standing.pid.is_none());
        assert_eq!(standing.last_exit.as_deref(), Some("70"));
        let text = "LoadState=not-found\nActiveState=inactive\nSubState=dead\nMainPID=0\n";
        assert!(!Standing::read(Manager::Systemd, true, text).loaded);
    }

    #[test]
    fn lingering_is_read() {
        assert_eq!(lingers("Linger=no\n"), Some(false));
        assert_eq!(lingers("Linger=yes"), Some(true));
        assert_eq!(lingers("Failed to get user"), None);
    }
}
