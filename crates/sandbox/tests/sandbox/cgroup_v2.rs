//! What is written to and read from the files of version 2, in directories that stand in for it:
//! a kernel gives a controller to one version only, and that of the continuous runs has version 1.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;

use metal9_sandbox::{Cgroups, Controller, Group, GroupLimits, Layout, Tally};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

const OWN: &[&str] = &["cgroup.subtree_control", "cgroup.procs"];
const WORKER: &[&str] = &["cgroup.subtree_control", "cgroup.procs", "cpu.weight"];
const JOB: &[&str] = &[
    "cgroup.procs",
    "memory.max",
    "memory.swap.max",
    "memory.oom.group",
    "cpu.weight",
    "cpu.max",
    "pids.max",
];

/// A hierarchy with the files that a kernel would make, empty.
struct Hierarchy(TempDir);

impl Hierarchy {
    fn new(offered: &str) -> Self {
        let hierarchy = Self(tempfile::tempdir().unwrap());
        hierarchy.make("", OWN);
        hierarchy.make("metal9", WORKER);
        hierarchy.make("metal9/job", JOB);
        hierarchy.make("metal9-daemon", &["cgroup.procs"]);
        fs::write(hierarchy.at("cgroup.controllers"), offered).unwrap();
        hierarchy
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn make(&self, directory: &str, files: &[&str]) {
        fs::create_dir_all(self.at(directory)).unwrap();
        for file in files {
            fs::write(self.at(directory).join(file), "").unwrap();
        }
    }

    /// What was written to a file.
    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    fn open(&self) -> Cgroups {
        let layout = Layout { v1: Vec::new(), v2: Some(self.0.path().to_owned()) };
        Cgroups::open(&layout, "metal9", Some(64), 2000)
    }

    fn job(&self) -> Group {
        self.open().create("job").unwrap().unwrap()
    }
}

fn limits() -> GroupLimits {
    GroupLimits {
        memory_bytes: Some(64 << 20),
        cpu_millicores: 500,
        cpu_most_millicores: Some(1500),
    }
}

#[test]
fn controllers_are_handed_down_to_the_worker_and_from_there_to_jobs() {
    let hierarchy = Hierarchy::new("cpuset cpu io memory hugetlb pids\n");
    let cgroups = hierarchy.open();
    for group in ["cgroup.subtree_control", "metal9/cgroup.subtree_control"] {
        assert_eq!(hierarchy.text(group), "+memory +pids +cpu");
    }
    assert!(Controller::ALL.into_iter().all(|controller| cgroups.has(controller)));
    assert_eq!(cgroups.describe(), "memory v2, pids v2, cpu v2, kill v2");
    assert!(cgroups.missing().is_empty(), "{:?}", cgroups.missing());
    assert_eq!(cgroups.directories(), [hierarchy.at("metal9")]);
    // All jobs together are worth two cores to the kernel.
    assert_eq!(hierarchy.text("metal9/cpu.weight"), "200");
    assert_eq!(hierarchy.text("metal9-daemon/cgroup.procs"), "", "there was no need to move");
}

#[test]
fn what_version_1_has_is_left_to_it_and_what_nobody_offers_is_told() {
    let hierarchy = Hierarchy::new("cpu pids");
    let v1 = hierarchy.at("v1-pids");
    fs::create_dir(&v1).unwrap();
    let layout =
        Layout { v1: vec![(v1, vec![Controller::Pids])], v2: Some(hierarchy.0.path().to_owned()) };
    let cgroups = Cgroups::open(&layout, "metal9", Some(64), 2000);
    assert_eq!(hierarchy.text("cgroup.subtree_control"), "+cpu");
    assert_eq!(cgroups.describe(), "cpu v2, kill v2, pids v1");
    let [(Controller::Memory, why)] = cgroups.missing() else { panic!("{cgroups:?}") };
    assert!(why.contains("no such controller"), "{why}");
}

/// The kernel hands nothing down from a group with processes in it. The pipe in place of the list
/// of processes lets this happen in order: whoever reads it was refused before.
#[test]
fn a_process_in_the_way_moves_aside_and_others_are_not_moved() {
    let hierarchy = Hierarchy::new("memory pids cpu");
    fs::remove_file(hierarchy.at("cgroup.subtree_control")).unwrap();
    fs::remove_file(hierarchy.at("cgroup.procs")).unwrap();
    mkfifo(&hierarchy.at("cgroup.procs"), Mode::S_IRWXU).unwrap();
    let (control, list) = (hierarchy.at("cgroup.subtree_control"), hierarchy.at("cgroup.procs"));
    let kernel = thread::spawn(move || {
        let mut list = fs::File::options().write(true).open(list).unwrap();
        fs::write(control, "").unwrap();
        // The first process of the machine, or of the container, is another program.
        list.write_all(format!("1\n{}\n", std::process::id()).as_bytes()).unwrap();
    });
    let cgroups = hierarchy.open();
    kernel.join().unwrap();
    let moved = hierarchy.text("metal9-daemon/cgroup.procs");
    assert_eq!(moved, std::process::id().to_string());
    assert_eq!(hierarchy.text("cgroup.subtree_control"), "+memory +pids +cpu");
    assert_eq!(hierarchy.text("metal9/cgroup.subtree_control"), "+memory +pids +cpu");
    assert!(cgroups.missing().is_empty(), "{:?}", cgroups.missing());
}

#[test]
fn one_that_starts_where_another_has_moved_aside_uses_the_same_groups() {
    let hierarchy = Hierarchy::new("memory pids cpu");
    let layout = Layout { v1: Vec::new(), v2: Some(hierarchy.at("metal9-daemon")) };
    let cgroups = Cgroups::open(&layout, "metal9", Some(64), 2000);
    assert_eq!(cgroups.directories(), [hierarchy.at("metal9")]);
    assert!(cgroups.missing().is_empty(), "{:?}", cgroups.missing());
    // Another worker's leaf is a group like any other.
    let cgroups = Cgroups::open(&layout, "metal9-other", Some(64), 2000);
    assert!(!hierarchy.at("metal9-other").exists(), "{cgroups:?}");
}

#[test]
fn a_group_that_is_not_delegated_is_left_alone_and_says_so() {
    let hierarchy = Hierarchy::new("memory pids cpu");
    fs::remove_file(hierarchy.at("cgroup.subtree_control")).unwrap();
    fs::remove_dir_all(hierarchy.at("metal9")).unwrap();
    let cgroups = hierarchy.open();
    assert_eq!(cgroups.describe(), "nothing");
    assert_eq!(cgroups.missing().len(), 3);
    let (_, why) = &cgroups.missing()[0];
    assert!(why.contains("is not delegated to us"), "{why}");
    assert!(!hierarchy.at("metal9").exists());
    assert!(cgroups.create("job").unwrap().is_none());
}

#[test]
fn limits_are_written_where_version_2_wants_them() {
    let hierarchy = Hierarchy::new("memory pids cpu");
    let job = hierarchy.job();
    assert_eq!(hierarchy.text("metal9/job/pids.max"), "64");
    assert!(job.limit(&limits()).unwrap(), "memory is held");
    let written = |file: &str| hierarchy.text(&format!("metal9/job/{file}"));
    assert_eq!(written("memory.max"), (64 << 20).to_string());
    assert_eq!(written("memory.swap.max"), "0");
    assert_eq!(written("memory.oom.group"), "1");
    assert_eq!(written("cpu.weight"), "50");
    assert_eq!(written("cpu.max"), "150000 100000");
}

#[test]
fn a_kernel_without_swap_holds_memory_all_the_same_and_one_without_the_limit_says_so() {
    let hierarchy = Hierarchy::new("memory pids cpu");
    let job = hierarchy.job();
    fs::remove_file(hierarchy.at("metal9/job/memory.swap.max")).unwrap();
    assert!(job.limit(&limits()).unwrap());
    assert_eq!(hierarchy.text("metal9/job/memory.max"), (64 << 20).to_string());
    assert!(!job.limit(&GroupLimits { memory_bytes: None, ..limits() }).unwrap());
    fs::remove_file(hierarchy.at("metal9/job/memory.max")).unwrap();
    job.limit(&limits()).unwrap_err();
    // The other limits are there nevertheless.
    assert_eq!(hierarchy.text("metal9/job/cpu.max"), "150000 100000");
}

#[test]
fn use_and_events_are_read_from_the_files_of_version_2() {
    let hierarchy = Hierarchy::new("memory pids cpu");
    let job = hierarchy.job();
    assert_eq!(job.memory(), None, "nothing to read is not nothing in use");
    let directory = hierarchy.at("metal9/job");
    let tell = |file: &str, text: &str| fs::write(Path::join(&directory, file), text).unwrap();
    tell("memory.current", "1000000\n");
    tell(
        "memory.stat",
        "anon 700000\nfile 300000\nfile_mapped 45000\ninactive_file 200000\nactive_file 50000\n",
    );
    assert_eq!((job.memory(), job.mapped_files()), (Some(750_000), 45_000));

    let events = |max, kills| {
        format!("low 0\nhigh 4\nmax {max}\noom {kills}\noom_kill {kills}\noom_group_kill 1\n")
    };
    tell("memory.events", &events(7, 0));
    tell("pids.events", "max 0\n");
    assert_eq!(job.tally(), Tally::default(), "coming up to the limit harms nobody");
    tell("memory.events", &events(7, 2));
    tell("pids.events", "max 3\n");
    let expected = Tally { memory_kills: 2, memory_hits: 7, refused_processes: 3 };
    assert_eq!(job.tally(), expected);
    assert_eq!(job.memory_tally(), Tally { refused_processes: 0, ..expected });
    // The machine's memory ran out, not the job's own.
    tell("memory.events", &events(0, 1));
    assert_eq!(job.memory_tally(), Tally { memory_kills: 1, ..Tally::default() });
}
