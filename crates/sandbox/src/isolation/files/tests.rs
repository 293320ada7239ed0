use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::*;

/// A machine that has what the test says: directories and files by path, links by path and target.
struct Fake {
    there: Vec<&'static str>,
    links: BTreeMap<&'static str, &'static str>,
}

impl Fake {
    fn real(&self, path: &Path) -> Option<PathBuf> {
        let mut real = PathBuf::from("/");
        for part in path.components().skip(1) {
            real.push(part);
            if let Some(target) = real.to_str().and_then(|text| self.links.get(text)) {
                let parent = real.parent().unwrap_or_else(|| Path::new("/"));
                real = self.real(&normal(&parent.join(target)))?;
            }
        }
        let inside = |known: &&str| Path::new(known).starts_with(&real);
        self.there.iter().any(inside).then_some(real)
    }
}

impl Machine for Fake {
    fn entry(&self, path: &Path) -> Entry {
        if let Some(target) = path.to_str().and_then(|text| self.links.get(text)) {
            return Entry::Link { target: target.into(), real: self.real(path) };
        }
        self.real(path).map_or(Entry::Missing, Entry::There)
    }
}

fn debian() -> Fake {
    Fake {
        there: vec![
            "/usr/lib/python3.11/os.py",
            "/usr/bin/python3.11",
            "/opt/metal9/worker/worker.json",
            "/opt/metal9/worker/env/envs/e1/lib",
            "/opt/metal9/worker/runner/r1",
            "/opt/metal9/worker/containers/7/tmp",
            "/etc/passwd",
            "/etc/shadow",
            "/etc/ssl/certs",
            "/etc/ssl/private",
            "/run/systemd/resolve/stub-resolv.conf",
            "/proc",
            "/sys",
            "/dev/null",
            "/dev/kvm",
            "/home/ann/.pyenv/versions/3.12.1/bin/python3.12",
            "/home/ann/.pyenv/versions/3.12.1/lib/python3.12/os.py",
            "/home/ann/.ssh/id_ed25519",
            "/data/sets",
            "/data/bucket",
        ],
        links: BTreeMap::from([
            ("/bin", "usr/bin"),
            ("/lib", "usr/lib"),
            ("/etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf"),
            ("/opt/metal9/worker/env/envs/e1/bin/python", "/home/ann/.local/bin/python3.12"),
            ("/home/ann/.local/bin/python3.12", "/home/ann/.pyenv/versions/3.12.1/bin/python3.12"),
        ]),
    }
}

fn job() -> JobPaths {
    JobPaths {
        rooted: false,
        programs: vec![
            "/opt/metal9/worker/env/envs/e1".into(),
            "/opt/metal9/worker/runner/r1".into(),
        ],
        python: "/opt/metal9/worker/env/envs/e1/bin/python".into(),
        own: "/opt/metal9/worker/containers/7".into(),
        temporary: "/opt/metal9/worker/containers/7/tmp".into(),
        readable: vec!["/data/sets".into(), "/data/gone".into()],
        writable: Vec::new(),
        volumes: Vec::new(),
        hidden: vec!["/opt/metal9/worker".into()],
    }
}

fn text(rules: &[FileRule]) -> String {
    let mut text = String::new();
    for FileRule { path, source, access } in rules {
        let source =
            if source == path { String::new() } else { format!(" from {}", source.display()) };
        let _ = writeln!(text, "{access:?} {}{source}", path.display());
    }
    text
}

#[test]
fn a_job_gets_the_system_its_environment_and_its_own_directory() {
    let expected = r#"Link("usr/bin") /bin
Read /data/sets
Link("/proc/self/fd") /dev/fd
Device /dev/null
Link("/proc/self/fd/2") /dev/stderr
Link("/proc/self/fd/0") /dev/stdin
Link("/proc/self/fd/1") /dev/stdout
Read /etc/passwd
Read /etc/resolv.conf from /run/systemd/resolve/stub-resolv.conf
Read /etc/ssl/certs
Execute /home/ann/.local/bin/python3.12 from /home/ann/.pyenv/versions/3.12.1/bin/python3.12
Execute /home/ann/.pyenv/versions/3.12.1
Link("usr/lib") /lib
Execute /opt
Hidden /opt/metal9/worker
Write /opt/metal9/worker/containers/7
Execute /opt/metal9/worker/env/envs/e1
Execute /opt/metal9/worker/runner/r1
Read /proc
Read /sys
Write /tmp from /opt/metal9/worker/containers/7/tmp
Execute /usr
Link("/tmp") /var/tmp
"#;
    assert_eq!(text(&file_rules(&debian(), &job())), expected);
}

#[test]
fn data_of_programs_is_hidden_among_them() {
    let mut machine = debian();
    machine.there.push("/usr/local/etc/service/key.pem");
    let rules = text(&file_rules(&machine, &job()));
    assert!(rules.contains("Execute /usr\nHidden /usr/local/etc\nLink"), "{rules}");
}

#[test]
fn a_directory_is_known_to_be_among_programs() {
    let mut machine = debian();
    machine.links.insert("/srv", "opt/metal9");
    let found = |path: &str| among_programs(&machine, Path::new(path));
    assert_eq!(found("/opt/metal9/worker"), Some("/opt"));
    assert_eq!(found("/opt/not/yet"), Some("/opt"));
    assert_eq!(found("/srv/gateway"), Some("/opt"), "by a link");
    assert_eq!(found("/bin/state"), Some("/usr"), "by a link of the system");
    assert_eq!(found("/home/ann/.metal9"), None);
    assert_eq!(found("/var/lib/metal9"), None);
}

#[test]
fn the_systems_own_python_needs_no_rule() {
    let mut machine = debian();
    machine.links.insert("/opt/metal9/worker/env/envs/e1/bin/python", "/usr/bin/python3.11");
    let rules = file_rules(&machine, &job());
    assert!(!text(&rules).contains("python3.11"), "{}", text(&rules));
}

#[test]
fn a_state_directory_that_nobody_can_see_is_not_hidden() {
    let mut job = job();
    job.hidden = vec!["/home/ann/.ssh".into()];
    assert!(!text(&file_rules(&debian(), &job)).contains("Hidden"));
}

#[test]
fn paths_lose_their_dots() {
    assert_eq!(normal(Path::new("/a/./b/../c")), Path::new("/a/c"));
    assert_eq!(normal(Path::new("/../a")), Path::new("/a"));
}

#[test]
fn a_volume_is_written_where_it_is_and_where_it_is_mounted_if_it_may_be() {
    let at = |directory: &str, elsewhere: Option<&str>, read_only| VolumePaths {
        directory: directory.into(),
        elsewhere: elsewhere.map(PathBuf::from),
        read_only,
    };
    let volume = PathBuf::from("/data/sets");
    let state = PathBuf::from("/data");
    let mounted = JobPaths {
        volumes: vec![
            at("/data/sets", Some("/models"), false),
            at("/data/gone", None, false),
            at("/data/bucket", Some("/bucket"), true),
        ],
        readable: Vec::new(),
        hidden: vec![state],
        ..job()
    };
    let rules = file_rules(&debian(), &mounted);
    let written: Vec<_> = rules
        .iter()
        .filter(|rule| rule.source == volume && rule.access == Access::Write)
        .map(|rule| rule.path.as_path())
        .collect();
    assert_eq!(written, [Path::new("/data/sets"), Path::new("/models")]);
    assert!(rules.iter().all(|rule| rule.path != Path::new("/data/gone")));
    let bucket: Vec<_> = rules
        .iter()
        .filter(|rule| rule.source == Path::new("/data/bucket"))
        .map(|rule| (rule.path.to_str().unwrap(), rule.access.clone()))
        .collect();
    assert_eq!(bucket, [("/bucket", Access::Read), ("/data/bucket", Access::Read)]);
}
