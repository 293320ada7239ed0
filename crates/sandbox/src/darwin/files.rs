//! Which files a job on a Mac may use beside the system's.

use std::path::{Path, PathBuf};

use super::profile::is_system;
use crate::isolation::{Access, FileRule, JobPaths, Machine, at, interpreter};

/// Where users keep their files, and root.
const HOMES: [&str; 2] = ["/Users", "/private/var/root"];

/// Keychains of the machine; those of users are in their homes.
const KEYCHAINS: &str = "/Library/Keychains";

/// The keychains in the home of a user.
const OWN_KEYCHAINS: &str = "Library/Keychains";

/// The rules in the order in which they count: a later one that is about the same file wins.
///
/// First all homes are hidden, then what the settings share is opened, be it in a home or not; then
/// what no setting may share is hidden; what makes the job is opened last, since it is in the
/// worker's state directory and that is in a home as a rule. `home` is the one of the worker's user.
#[must_use]
pub fn darwin_file_rules(machine: &impl Machine, job: &JobPaths, home: &Path) -> Vec<FileRule> {
    let hide = |path: &Path| {
        // What is not there yet is to be hidden as well.
        at(machine, path, Access::Hidden).unwrap_or_else(|| FileRule::new(path, Access::Hidden))
    };
    let mut rules: Vec<FileRule> = HOMES.iter().map(|path| hide(Path::new(path))).collect();
    if home.parent().is_some() {
        rules.push(hide(home));
    }
    for (paths, access) in [(&job.readable, Access::Read), (&job.writable, Access::Write)] {
        rules.extend(paths.iter().filter_map(|path| at(machine, path, access.clone())));
    }
    rules.push(hide(Path::new(KEYCHAINS)));
    rules.push(hide(&home.join(OWN_KEYCHAINS)));
    rules.extend(job.hidden.iter().map(|path: &PathBuf| hide(path)));
    rules.extend(job.programs.iter().filter_map(|path| at(machine, path, Access::Execute)));
    // A second rule for a directory of the system would open again what is hidden in it.
    let python = interpreter(machine, &job.python);
    rules.extend(python.into_iter().filter(|rule| !is_system(&rule.source)));
    let volumes = job.volumes.iter();
    rules.extend(volumes.filter_map(|volume| at(machine, &volume.directory, volume.access())));
    rules.extend(at(machine, &job.own, Access::Write));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolation::{Entry, VolumePaths};

    /// A Mac on which a worker of `ada` runs, with uv's Python in her home.
    struct Mac;

    impl Machine for Mac {
        fn entry(&self, path: &Path) -> Entry {
            let text = path.to_str().unwrap();
            if text == "/Users/ada/.metal9/env/1/bin/python" {
                let real = PathBuf::from("/Users/ada/.local/share/uv/python/3.12/bin/python3.12");
                return Entry::Link { target: real.clone(), real: Some(real) };
            }
            if let Some(rest) = text.strip_prefix("/tmp/") {
                return Entry::There(Path::new("/private/tmp").join(rest));
            }
            if text.contains("missing") {
                return Entry::Missing;
            }
            Entry::There(path.to_owned())
        }
    }

    fn rules() -> Vec<FileRule> {
        let state = PathBuf::from("/Users/ada/.metal9");
        let job = JobPaths {
            rooted: false,
            programs: vec![state.join("env/1"), state.join("runner")],
            python: state.join("env/1/bin/python"),
            own: state.join("containers/7"),
            temporary: state.join("containers/7/tmp"),
            readable: vec!["/Users/ada/models".into(), "/missing".into()],
            writable: vec!["/tmp/results".into()],
            volumes: Vec::new(),
            hidden: vec![state],
        };
        darwin_file_rules(&Mac, &job, Path::new("/Users/ada"))
    }

    /// What the rules say of a path: the last one that is about it.
    fn access(path: &str) -> Option<Access> {
        let rules = rules();
        let last = rules.iter().rfind(|rule| Path::new(path).starts_with(&rule.source));
        last.map(|rule| rule.access.clone())
    }

    #[test]
    fn homes_and_the_workers_state_are_hidden() {
        for path in [
            "/Users/ada/.ssh/id_ed25519",
            "/Users/bob/notes",
            "/private/var/root/x",
            "/Users/ada/Library/Keychains/login.keychain-db",
            "/Library/Keychains/System.keychain",
            "/Users/ada/.metal9/worker.json",
            "/Users/ada/.metal9/containers/8/code/app.py",
        ] {
            assert_eq!(access(path), Some(Access::Hidden), "{path}");
        }
    }

    #[test]
    fn what_makes_the_job_is_open_though_it_is_in_a_home() {
        assert_eq!(access("/Users/ada/.metal9/containers/7/code"), Some(Access::Write));
        assert_eq!(access("/Users/ada/.metal9/env/1/lib/x.py"), Some(Access::Execute));
        assert_eq!(access("/Users/ada/.metal9/runner/x.py"), Some(Access::Execute));
        let python = "/Users/ada/.local/share/uv/python/3.12/bin/python3.12";
        assert_eq!(access(python), Some(Access::Execute));
        assert_eq!(access("/Users/ada/.local/share/other"), Some(Access::Hidden));
    }

    #[test]
    fn a_volume_is_open_though_what_is_beside_it_is_not() {
        let gateway = PathBuf::from("/Users/ada/.metal9/gateway/volumes");
        let volume = |name: &str, read_only| {
            let directory = gateway.join(name);
            VolumePaths { directory, elsewhere: None, read_only }
        };
        let job = JobPaths {
            python: "/usr/bin/python3".into(),
            own: "/w/7".into(),
            hidden: vec!["/Users/ada/.metal9".into()],
            volumes: vec![volume("1", false), volume("3", true)],
            ..JobPaths::default()
        };
        let rules = darwin_file_rules(&Mac, &job, Path::new("/Users/ada"));
        let last = |path: PathBuf| {
            let rule = rules.iter().rfind(|rule| path.starts_with(&rule.source));
            rule.map(|rule| rule.access.clone())
        };
        assert_eq!(last(gateway.join("1/file")), Some(Access::Write));
        assert_eq!(last(gateway.join("2/file")), Some(Access::Hidden));
        assert_eq!(last(gateway.join("3/file")), Some(Access::Read));
        assert_eq!(last(gateway.join(".marker")), Some(Access::Hidden));
    }

    #[test]
    fn a_python_of_the_system_opens_nothing_more() {
        let python = "/opt/homebrew/bin/python3".into();
        let job = JobPaths { python, own: "/w/7".into(), ..JobPaths::default() };
        let rules = darwin_file_rules(&Mac, &job, Path::new("/Users/ada"));
        assert!(rules.iter().all(|rule| !rule.source.starts_with("/opt")), "{rules:?}");
    }

    #[test]
    fn settings_open_directories_in_homes_but_never_the_state() {
        assert_eq!(access("/Users/ada/models/llama"), Some(Access::Read));
        assert_eq!(access("/private/tmp/results/1"), Some(Access::Write));
        let job = JobPaths {
            python: "/usr/bin/python3".into(),
            readable: vec!["/Users/ada".into()],
            hidden: vec!["/Users/ada/.metal9".into()],
            own: "/Users/ada/.metal9/containers/7".into(),
            ..JobPaths::default()
        };
        let rules = darwin_file_rules(&Mac, &job, Path::new("/Users/ada"));
        let last = |path: &str| {
            let rule = rules.iter().rfind(|rule| Path::new(path).starts_with(&rule.path));
            rule.map(|rule| rule.access.clone())
        };
        assert_eq!(last("/Users/ada/notes"), Some(Access::Read));
        assert_eq!(last("/Users/ada/.metal9/worker.json"), Some(Access::Hidden));
        assert_eq!(last("/Users/ada/Library/Keychains/login"), Some(Access::Hidden));
    }
}
