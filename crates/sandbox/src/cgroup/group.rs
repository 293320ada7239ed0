//! The cgroup of one container.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::detect::Controller;
use super::files::{self, PROCESSES, field, number, read, write};

/// Where cgroups are mounted: the one hierarchy of version 2, or each of version 1 below.
pub(crate) const ROOT: &str = "/sys/fs/cgroup";

/// The period of hard processor limits, in microseconds; the kernel's own default.
const CPU_PERIOD: u64 = 100_000;

/// The smallest difference between two limits of memory, in bytes, on any machine.
const PAGE: u64 = 64 * 1024;

/// How long killed processes may take to be gone. One that waits for a disk cannot be hurried.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// The first and the longest pause while waiting for them.
const PAUSES: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(20));

/// What a container is held to. Nothing set is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupLimits {
    /// Memory and swap together, in bytes.
    pub memory_bytes: Option<u64>,
    /// How much of the processor it gets when others want it too, in thousandths of a core.
    pub cpu_millicores: u64,
    /// The most it ever gets, in thousandths of a core.
    pub cpu_most_millicores: Option<u64>,
}

/// What the kernel did to a container because of its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Processes that were killed for want of memory.
    pub memory_kills: u64,
    /// How often the container came up to its own memory limit; 0 if it was the machine's memory
    /// that ran out.
    pub memory_hits: u64,
    /// Processes and threads that it was not allowed to start.
    pub refused_processes: u64,
}

/// One directory of a group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    pub(super) is_v2: bool,
    pub(super) controllers: Vec<Controller>,
}

/// The cgroup of one container: a directory in each hierarchy. Clones are the same group.
///
/// It stays when it is dropped, and is made to go by [`Group::end`].
#[derive(Clone, Debug)]
pub struct Group(Arc<[Place]>);

impl Group {
    pub(super) fn make(places: Vec<Place>, pids: Option<u64>) -> io::Result<Self> {
        let group = Self(places.into());
        let made = group.0.iter().try_for_each(|place| match fs::create_dir(&place.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        });
        let limited = made.and_then(|()| match (group.place(Controller::Pids), pids) {
            (Some(place), Some(most)) => write(&place.directory, "pids.max", &most.to_string()),
            _ => Ok(()),
        });
        limited.inspect_err(|_| drop(group.remove()))?;
        Ok(group)
    }

    /// The group whose directories are already there, as the supervisor is told of it.
    pub(crate) fn from_wire(places: WirePlaces) -> Self {
        Self(places.0.into())
    }

    pub(crate) fn to_wire(&self) -> WirePlaces {
        WirePlaces(self.0.to_vec())
    }

    /// Files to write `0` to, in order to enter.
    pub(crate) fn doors(&self) -> io::Result<Vec<File>> {
        let open =
            |place: &Place| File::options().write(true).open(place.directory.join(PROCESSES));
        self.0.iter().map(open).collect()
    }

    /// Whether everything is in the one hierarchy of version 2, where a group with processes of its
    /// own has no groups below.
    pub(crate) fn is_v2(&self) -> bool {
        self.0.iter().all(|place| place.is_v2)
    }

    /// Its path in the hierarchy of version 2, if it is nowhere else.
    pub(crate) fn v2_path(&self) -> Option<PathBuf> {
        let place = self.0.first().filter(|_| self.is_v2())?;
        let below = place.directory.strip_prefix(ROOT).ok()?;
        Some(Path::new("/").join(below))
    }

    fn place(&self, controller: Controller) -> Option<&Place> {
        self.0.iter().find(|place| place.controllers.contains(&controller))
    }

    /// Holds the container to these limits from now on; returns whether memory is held.
    ///
    /// # Errors
    ///
    /// If the kernel refuses one of them; the others are set nevertheless.
    pub fn limit(&self, limits: &GroupLimits) -> io::Result<bool> {
        let cpu = match self.place(Controller::Cpu) {
            Some(place) => limit_cpu(place, limits),
            None => Ok(()),
        };
        let memory = match (self.place(Controller::Memory), limits.memory_bytes) {
            (Some(place), Some(bytes)) => limit_memory(place, bytes).map(|()| true),
            _ => Ok(false),
        };
        cpu.and(memory)
    }

    /// Bytes in use that cannot be taken back by reading them from a file again, with shared memory
    /// counted once; `None` if memory is not counted here.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        let place = self.place(Controller::Memory)?;
        let (usage, stat, prefix) = if place.is_v2 {
            (number(&place.directory, "memory.current"), "memory.stat", "")
        } else {
            (number(&place.directory, "memory.usage_in_bytes"), "memory.stat", "total_")
        };
        let stat = read(&place.directory, stat).ok()?;
        let files = ["inactive_file", "active_file"]
            .iter()
            .map(|name| field(&stat, &format!("{prefix}{name}")))
            .sum();
        Some(usage.ok()?.saturating_sub(files))
    }

    /// Bytes of files that its programs have mapped, such as the programs themselves.
    #[must_use]
    pub fn mapped_files(&self) -> u64 {
        let Some(place) = self.place(Controller::Memory) else { return 0 };
        let name = if place.is_v2 { "file_mapped" } else { "total_mapped_file" };
        read(&place.directory, "memory.stat").map_or(0, |stat| field(&stat, name))
    }

    /// What the limits have done so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = self.memory_tally();
        if let Some(place) = self.place(Controller::Pids) {
            tally.refused_processes = counted(place, "pids.events", "max");
        }
        tally
    }

    /// As [`Group::tally`], with nothing but the memory: one file is read while nothing is wrong.
    #[must_use]
    pub fn memory_tally(&self) -> Tally {
        let Some(place) = self.place(Controller::Memory) else { return Tally::default() };
        let file = if place.is_v2 { "memory.events" } else { "memory.oom_control" };
        let memory_kills = counted(place, file, "oom_kill");
        let hits = |file| number(&place.directory, file).unwrap_or(0);
        let memory_hits = match (memory_kills, place.is_v2) {
            (0, _) => 0,
            (_, true) => counted(place, file, "max"),
            (_, false) => hits("memory.failcnt") + hits("memory.memsw.failcnt"),
        };
        Tally { memory_kills, memory_hits, refused_processes: 0 }
    }

    /// Kills everyone in it; returns how many there were, 0 once they are gone.
    pub(crate) fn kill(&self) -> usize {
        self.0.iter().map(|place| files::kill_all(&place.directory)).max().unwrap_or(0)
    }

    /// Kills everyone in it and returns when they are gone. Blocks for that long.
    pub(crate) fn empty(&self) -> io::Result<()> {
        let (begun, mut pause) = (Instant::now(), PAUSES.0);
        // Version 2 first: there it is one order for all.
        while self.kill() > 0 {
            if begun.elapsed() > GONE_WITHIN {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(pause);
            pause = (pause * 2).min(PAUSES.1);
        }
        Ok(())
    }

    /// Removes it once it is empty. Blocks for as long as the last ones take to be quite gone.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let (begun, mut pause) = (Instant::now(), PAUSES.0);
        loop {
            // The kernel lists no one who is dying, and yet does not let go of their group.
            match self.0.iter().try_for_each(|place| files::remove(&place.directory)) {
                Err(error) if is_busy(&error) && begun.elapsed() < GONE_WITHIN => {}
                result => return result,
            }
            thread::sleep(pause);
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Kills everyone in it, waits until they are gone and removes it. Blocks for that long.
    ///
    /// # Errors
    ///
    /// If a process does not die, as one that waits for a broken disk, or a directory stays.
    pub fn end(&self) -> io::Result<()> {
        self.empty()?;
        self.remove()
    }

    /// Its directories.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|place| place.directory.as_path())
    }
}

fn is_busy(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
}

/// A group on its way to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WirePlaces(Vec<Place>);

fn limit_memory(place: &Place, bytes: u64) -> io::Result<()> {
    let directory = &place.directory;
    if place.is_v2 {
        // Swap would only be a slower way over the limit. A kernel without it has no such file.
        let _ = write(directory, "memory.swap.max", "0");
        // All or nothing: half a job is of no use to anybody.
        let _ = write(directory, "memory.oom.group", "1");
        write(directory, "memory.max", &bytes.to_string())
    } else {
        // Memory and swap together, never less than memory alone, hence in this order.
        write(directory, "memory.limit_in_bytes", &bytes.to_string())?;
        // Hits are counted for memory alone, so that one must be hit first.
        let both = bytes.saturating_add(PAGE).to_string();
        let _ = write(directory, "memory.memsw.limit_in_bytes", &both);
        Ok(())
    }
}

/// What the kernel counts in a group and those below, which an OCI runtime makes: version 1 counts it
/// where the process is, version 2 everywhere above as well.
fn counted(place: &Place, file: &str, name: &str) -> u64 {
    let count = |group: &Path| field(&read(group, file).unwrap_or_default(), name);
    // A directory has a link for each one below, which is cheaper to ask for than their names.
    let has_none_below = || fs::metadata(&place.directory).is_ok_and(|it| it.nlink() <= 2);
    if place.is_v2 || has_none_below() {
        return count(&place.directory);
    }
    files::family(&place.directory).iter().map(|group| count(group)).sum()
}

fn limit_cpu(place: &Place, limits: &GroupLimits) -> io::Result<()> {
    set_weight(&place.directory, place.is_v2, limits.cpu_millicores)?;
    let Some(most) = limits.cpu_most_millicores else { return Ok(()) };
    // The kernel refuses less than a millisecond.
    let quota = (most.saturating_mul(CPU_PERIOD) / 1000).max(1000);
    if place.is_v2 {
        write(&place.directory, "cpu.max", &format!("{quota} {CPU_PERIOD}"))
    } else {
        write(&place.directory, "cpu.cfs_period_us", &CPU_PERIOD.to_string())?;
        write(&place.directory, "cpu.cfs_quota_us", &quota.to_string())
    }
}

/// Gives a group its share of the processor: a whole core is what one ordinary process has.
pub(super) fn set_weight(directory: &Path, is_v2: bool, millicores: u64) -> io::Result<()> {
    if is_v2 {
        write(directory, "cpu.weight", &(millicores / 10).clamp(1, 10_000).to_string())
    } else {
        let shares = millicores.saturating_mul(1024) / 1000;
        write(directory, "cpu.shares", &shares.clamp(2, 262_144).to_string())
    }
}
