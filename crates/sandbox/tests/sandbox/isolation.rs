//! What an isolated job can and cannot do, with all means and with fewer.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use metal9_sandbox::{
    Exit, Isolation, JobPaths, Launch, Means, Network, RealMachine, Sought, SpawnError, Step,
    file_rules, probe, spawn,
};

use crate::support::{Obedient, exists, fixture, launch, rest_text, shell, soon, start};

/// A job's directory, and a secret beside it.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        // Not in `/tmp`, which is another one for the job.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::create_dir_all(folder.path().join("own/tmp")).unwrap();
        fs::write(folder.path().join("secret"), "secret").unwrap();
        Self { folder }
    }

    fn own(&self) -> PathBuf {
        self.folder.path().join("own")
    }

    fn secret(&self) -> PathBuf {
        self.folder.path().join("secret")
    }

    fn isolated(&self, means: Means, network: Network, launch: Launch) -> Launch {
        let job = JobPaths {
            programs: vec![fixture().to_owned()],
            own: self.own(),
            temporary: self.own().join("tmp"),
            ..JobPaths::default()
        };
        let files = file_rules(&RealMachine, &job);
        Launch {
            cwd: self.own(),
            isolation: Some(Isolation { means, files, network, gpu: false }),
            ..launch
        }
    }

    async fn run(&self, means: Means, network: Network, script: &str) -> String {
        let mut process = start(self.isolated(means, network, shell(script))).await;
        rest_text(process.take_stdout()).await
    }
}

async fn means() -> Means {
    let folder = tempfile::tempdir().unwrap();
    soon("the probe", probe(fixture(), folder.path(), Sought::Everything)).await.unwrap()
}

#[tokio::test]
async fn this_machine_isolates_jobs() {
    let means = means().await;
    assert!(means.suffice(), "only {means}; missing: {:?}", means.gaps());
}

#[tokio::test]
async fn only_its_own_directory_is_a_jobs_to_write() {
    let all = means().await;
    // Each layer by itself: the view, Landlock, and both.
    for means in [all, Means { landlock: 0, ..all }, all.without(Step::View).unwrap()] {
        let place = Place::new();
        let script = format!(
            "exec 2>&1; cat {secret}; cat /etc/shadow; echo x >> {secret}; echo x > /usr/planted;
             echo own > file; cat file; echo shared > $PWD/tmp/t; ls /etc/passwd",
            secret = place.secret().display()
        );
        let said = place.run(means, Network::Full, &script).await;
        let (refused, worked): (Vec<_>, Vec<_>) =
            said.lines().partition(|line| line.contains(": "));
        // Where the secret is below `/tmp`, a job with a view writes one of its own there.
        let elsewhere = means.view && place.secret().starts_with("/tmp");
        assert_eq!(refused.len(), if elsewhere { 3 } else { 4 }, "{means}: {said}");
        assert_eq!(worked, ["own", "/etc/passwd"], "{means}: {said}");
        assert_eq!(fs::read_to_string(place.secret()).unwrap(), "secret");
        assert!(!Path::new("/usr/planted").exists());
    }
}

#[tokio::test]
async fn a_view_has_nothing_to_change_modes_of() {
    let place = Place::new();
    let script = format!(
        "exec 2>/dev/null; chmod 777 {} && echo changed; chmod 777 /etc/passwd && echo changed;
         chmod 700 . && echo own",
        place.secret().display()
    );
    assert_eq!(place.run(means().await, Network::Full, &script).await, "own\n");
    let mode = fs::metadata("/etc/passwd").unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[tokio::test]
async fn a_job_has_a_tmp_of_its_own() {
    let place = Place::new();
    let said = place.run(means().await, Network::Full, "echo here > /tmp/note; ls -A /tmp").await;
    assert!(said.contains("note"), "{said}");
    assert_eq!(fs::read_to_string(place.own().join("tmp/note")).unwrap(), "here\n");
}

#[tokio::test]
async fn a_job_cannot_signal_who_is_not_of_its_own() {
    let place = Place::new();
    let script = format!(
        "exec 2>/dev/null; kill -0 {} && echo worker; kill -0 $PPID && echo supervisor;
         sleep 100 & kill $! && echo own",
        std::process::id()
    );
    assert_eq!(place.run(means().await, Network::Full, &script).await, "own\n");
}

#[tokio::test]
async fn an_isolated_job_is_reaped_and_killed_like_any_other() {
    let place = Place::new();
    let launch = place.isolated(means().await, Network::None, launch(&["obey"]));
    let mut job = Obedient::start_with(launch).await;
    soon("mark", job.process.mark()).await.unwrap();
    let daemon = job.tell_to_start("daemon").await;
    assert_eq!(soon("reap", job.process.reap()).await.unwrap(), 1);
    assert!(!exists(daemon));
    let second = job.tell_to_start("daemon").await;
    soon("kill", job.process.kill()).await.unwrap();
    assert!(!exists(second));
    job.all_gone().await;
}

#[tokio::test]
async fn the_worker_listens_in_the_jobs_own_network() {
    let place = Place::new();
    let launch = place.isolated(means().await, Network::GatewayOnly, launch(&["obey"]));
    let mut job = Obedient::start_with(launch).await;
    let listeners = job.process.take_listeners();
    assert_eq!(listeners.len(), 2);
    let port = listeners[0].local_addr().unwrap().port();
    // From here nobody listens there: the port is one of the job's network.
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    let serving = tokio::task::spawn_blocking(move || {
        let (mut socket, _) = listeners[0].accept().unwrap();
        let mut said = [0; 5];
        socket.read_exact(&mut said).unwrap();
        socket.write_all(&said).unwrap();
        said
    });
    job.tell(&format!("connect {port}")).await;
    assert_eq!(&soon("what it said", serving).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_policy_that_cannot_be_enforced_is_an_error() {
    let place = Place::new();
    let means = means().await.without(Step::Network).unwrap();
    for network in [Network::GatewayOnly, Network::None] {
        let launch = place.isolated(means, network, shell("echo ran"));
        let error = soon("failure", spawn(fixture(), launch)).await.unwrap_err();
        let SpawnError::Isolation { step, .. } = error else { panic!("{error:?}") };
        assert_eq!(step, Step::Network);
    }
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn calls_of_a_foreign_abi_end_the_process() {
    let place = Place::new();
    let launch = place.isolated(means().await, Network::Full, launch(&["x32"]));
    let process = start(launch).await;
    assert_eq!(soon("exit", process.wait()).await, Exit::Signal(libc::SIGSYS));
}
