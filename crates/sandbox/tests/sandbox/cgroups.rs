//! Jobs in cgroups, on machines that let this test make some.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use metal9_sandbox::{Cgroups, Controller, Exit, Group, GroupLimits, Launch, Layout, clean};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Obedient, rest_text, shell, soon, start};

const MIB: u64 = 1 << 20;

/// The groups of one test.
struct Own(Cgroups);

impl Own {
    /// What this machine lets us have. A developer's may give nothing; the one of the project's
    /// continuous runs must, so that these tests cannot be passed over there.
    fn open(controller: Controller) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        let layout = Layout::read(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("metal9-test-{}-{number}", std::process::id());
        let cgroups = Cgroups::open(&layout, &name, Some(64), 2000);
        if cgroups.has(controller) {
            return Some(Self(cgroups));
        }
        assert!(!nix::unistd::geteuid().is_root(), "root has no cgroups: {:?}", cgroups.missing());
        None
    }

    fn group(&self) -> Group {
        self.0.create("job").unwrap().unwrap()
    }

    fn left(&self) -> usize {
        let directories = self.0.directories();
        directories.iter().filter(|directory| directory.join("job").exists()).count()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn limits(memory_mib: u64) -> GroupLimits {
    GroupLimits {
        memory_bytes: Some(memory_mib * MIB),
        cpu_millicores: 500,
        cpu_most_millicores: Some(1500),
    }
}

#[tokio::test]
async fn a_job_is_in_its_group_from_the_start_and_the_group_goes_with_it() {
    let Some(own) = Own::open(Controller::Memory) else { return };
    let group = own.group();
    let mut job =
        start(Launch { group: Some(group.clone()), ..shell("cat /proc/self/cgroup") }).await;
    let seen = rest_text(job.take_stdout()).await;
    for directory in group.directories() {
        let parent = directory.parent().unwrap().file_name().unwrap().to_str().unwrap();
        assert!(seen.contains(&format!("/{parent}/job\n")), "{seen}");
    }
    soon("kill", job.kill()).await.unwrap();
    assert_eq!(own.left(), 0);
}

#[tokio::test]
async fn more_memory_than_the_limit_ends_the_job_and_is_counted() {
    let Some(own) = Own::open(Controller::Memory) else { return };
    let mut job = Obedient::start_in(Some(own.group())).await;
    assert!(job.process.limit(&limits(64)).unwrap());
    job.tell("allocate 16").await;
    assert!(job.process.memory().unwrap() > 16 * MIB);
    assert_eq!(job.process.tally(), Default::default());
    job.send("allocate 200").await;
    assert_eq!(soon("exit", job.process.wait()).await, Exit::Signal(9));
    soon("kill", job.process.kill()).await.unwrap();
    // Also once the group is gone.
    let tally = job.process.memory_tally();
    assert_eq!(own.left(), 0);
    assert!(tally.memory_kills >= 1 && tally.memory_hits >= 1, "{tally:?}");
}

#[tokio::test]
async fn processes_beyond_the_limit_are_refused_and_counted() {
    let Some(own) = Own::open(Controller::Pids) else { return };
    let script = "for i in $(seq 200); do sleep 1000 & done 2>/dev/null; sleep 1000";
    let job = start(Launch { group: Some(own.group()), ..shell(script) }).await;
    let refused = async {
        while job.tally().refused_processes == 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("a refusal", refused).await;
    soon("kill", job.kill()).await.unwrap();
    assert_eq!(own.left(), 0);
}

#[tokio::test]
async fn shares_and_quota_are_what_the_job_asked_for() {
    let Some(own) = Own::open(Controller::Cpu) else { return };
    let group = own.group();
    group.limit(&limits(64)).unwrap();
    let read = |file: &str| {
        let mut found = group.directories().filter_map(|at| fs::read_to_string(at.join(file)).ok());
        found.next().map(|text| text.trim().to_owned())
    };
    let v1 = read("cpu.shares").zip(read("cpu.cfs_quota_us"));
    let v2 = read("cpu.weight").zip(read("cpu.max"));
    match (v1, v2) {
        (Some(v1), None) => assert_eq!(v1, ("512".to_owned(), "150000".to_owned())),
        (None, Some(v2)) => assert_eq!(v2, ("50".to_owned(), "150000 100000".to_owned())),
        both => panic!("{both:?}"),
    }
    group.end().unwrap();
}

#[tokio::test]
async fn the_death_of_the_supervisor_lets_nobody_escape() {
    let Some(own) = Own::open(Controller::Pids) else { return };
    let mut job = Obedient::start_in(Some(own.group())).await;
    // In a session of its own, without a parent.
    job.tell_to_start("daemon").await;
    kill(Pid::from_raw(job.process.pid().cast_signed()), Signal::SIGKILL).unwrap();
    assert_eq!(soon("exit", job.process.wait()).await, Exit::Lost);
    soon("kill", job.process.kill()).await.unwrap();
    job.all_gone().await;
    assert_eq!(own.left(), 0);
}

#[tokio::test]
async fn what_nobody_has_ended_is_found_by_its_group_later() {
    let Some(own) = Own::open(Controller::Pids) else { return };
    let mut job = Obedient::start_in(Some(own.group())).await;
    job.tell_to_start("daemon").await;
    fs::create_dir(own.0.directories()[0].join("job/inner")).unwrap();
    let cleaned = clean(&own.0.directories());
    assert!(cleaned.processes >= 2, "{cleaned:?}");
    job.all_gone().await;
    assert!(own.0.directories().iter().all(|directory| !directory.exists()));
    assert_eq!(clean(&own.0.directories()), Default::default());
}

#[tokio::test]
async fn only_cgroups_are_cleaned() {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("file");
    fs::write(&file, "precious").unwrap();
    assert_eq!(clean(&[folder.path().to_owned(), file.clone()]), Default::default());
    assert!(file.exists());
}

#[tokio::test]
async fn a_group_that_is_not_there_is_told_as_such() {
    let Some(own) = Own::open(Controller::Pids) else { return };
    let group = own.group();
    group.end().unwrap();
    let launch = Launch { group: Some(group), ..shell("true") };
    let spawned = metal9_sandbox::spawn(crate::support::fixture(), launch);
    let error = soon("spawn", spawned).await.unwrap_err();
    assert_eq!(error.to_string(), "could not enter the cgroup of /bin/sh");
}
