//! Holding a container to the memory it asked for.
//!
//! Where there is a cgroup the kernel does it, and this only notices that it has. Elsewhere this
//! looks at what the container uses from time to time.

use std::time::Duration;

use metal9_sandbox::{GroupLimits, Tally};
use metal9_types::{Failure, FailureKind};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::runner::Supervisor;

const MIB: u64 = 1024 * 1024;

/// The exit code of a program that SIGKILL has ended.
const KILLED: i32 = 128 + 9;

/// How often a container is looked at while it runs a call.
const BUSY: Duration = Duration::from_millis(75);

/// How often it is looked at while it waits for one.
const IDLE: Duration = Duration::from_secs(1);

/// What a container is to be held to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Memory beside what the runner itself needs; 0 for no limit.
    pub(crate) memory_mib: u64,
    /// The share of the processor.
    pub(crate) cpu_millicores: u64,
    /// The most of the processor, if there is such a limit.
    pub(crate) cpu_most_millicores: Option<u64>,
}

/// How a container was found to want too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// It uses these bytes, without the runner's own.
    Used(u64),
    /// The kernel has killed processes of it.
    Killed(Tally),
}

/// Looks at a container's memory from time to time.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    asked_mib: u64,
    /// What the runner itself needed before any of the user's code was loaded, in bytes.
    baseline: u64,
    /// Whether the kernel holds the container to its limit.
    held: bool,
    /// Whether the kernel kills the program if it alone uses more, and says nothing of it.
    fatal: bool,
    interval: Interval,
}

impl MemoryWatch {
    /// A watch that says nothing.
    pub(crate) fn unlimited() -> Self {
        Self { asked_mib: 0, baseline: 0, held: false, fatal: false, interval: interval(IDLE) }
    }

    /// The runner is ready, and uses this many bytes by itself.
    pub(crate) fn set_baseline(&mut self, bytes: u64) {
        self.baseline = bytes;
    }

    /// The program was started with a limit of its own, as on macOS.
    pub(crate) fn set_fatal(&mut self) {
        self.fatal = true;
    }

    /// What a program failed with that was killed and nobody says by whom, if it may have been for
    /// want of memory.
    pub(crate) fn suspect(&self, looked_like: &Failure) -> Option<Failure> {
        if !self.fatal || self.asked_mib == 0 || looked_like.exit_code != KILLED {
            return None;
        }
        let (asked, enough) = (self.asked_mib, suggestion(self.asked_mib.saturating_add(1)));
        let text = format!(
            "{}, as the system does with one that uses too much memory: the function asked for \
             {asked} MiB (hint: raise memory={enough})",
            looked_like.message
        );
        Some(Failure::new(FailureKind::Memory, text))
    }

    /// From now on the container is held to this.
    pub(crate) fn set_limits(&mut self, limits: &Limits, supervisor: &Supervisor) {
        self.asked_mib = limits.memory_mib;
        self.interval = interval(BUSY);
        // A cgroup counts files as well, and those that are mapped are needed all the time.
        let memory_bytes = self.most().map(|most| most.saturating_add(supervisor.mapped_files()));
        let limits = GroupLimits {
            memory_bytes,
            cpu_millicores: limits.cpu_millicores,
            cpu_most_millicores: limits.cpu_most_millicores,
        };
        self.held = supervisor.limit(&limits).unwrap_or_else(|error| {
            tracing::warn!(%error, "the kernel does not take a limit; memory is looked at instead");
            false
        });
    }

    /// A call begins or ends: look more or less often.
    pub(crate) fn set_busy(&mut self, busy: bool) {
        self.interval = interval(if busy { BUSY } else { IDLE });
    }

    /// The most bytes the container may use.
    fn most(&self) -> Option<u64> {
        let asked = (self.asked_mib > 0).then(|| self.asked_mib.saturating_mul(MIB))?;
        Some(self.baseline.saturating_add(asked))
    }

    /// Returns once the container wants more than it asked for. Can be dropped and called again.
    pub(crate) async fn exceeded(&mut self, supervisor: &Supervisor) -> Excess {
        if self.asked_mib == 0 {
            return std::future::pending().await;
        }
        loop {
            self.interval.tick().await;
            if let Some(excess) = self.check(supervisor) {
                return excess;
            }
        }
    }

    fn check(&self, supervisor: &Supervisor) -> Option<Excess> {
        let killed = self.killed(supervisor);
        if killed.is_some() || self.held {
            return killed;
        }
        // The quick figure counts shared memory more than once, so the exact one must agree.
        let limit = self.most()?;
        let over = |bytes: std::io::Result<u64>| bytes.ok().filter(|bytes| *bytes > limit);
        over(supervisor.memory())?;
        over(supervisor.memory_exact()).map(|used| Excess::Used(used - self.baseline))
    }

    /// Whether the kernel has killed anything in the container for want of memory. What is left of
    /// a job after that is not to be trusted.
    pub(crate) fn killed(&self, supervisor: &Supervisor) -> Option<Excess> {
        let tally = supervisor.memory_tally();
        (tally.memory_kills > 0).then_some(Excess::Killed(tally))
    }

    /// What a call that wanted too much failed with.
    pub(crate) fn failure(&self, excess: Excess) -> Failure {
        let asked = self.asked_mib;
        match excess {
            Excess::Used(used) => {
                let used = used.div_ceil(MIB);
                let enough = suggestion(used);
                let text = format!(
                    "memory limit exceeded: the function asked for {asked} MiB and used {used} MiB \
                     (hint: raise memory={enough})"
                );
                Failure::new(FailureKind::Memory, text)
            }
            Excess::Killed(tally) if tally.memory_hits > 0 => {
                let enough = suggestion(asked.saturating_add(1));
                let text = format!(
                    "memory limit exceeded: the function asked for {asked} MiB and needed more, so \
                     the kernel ended it (hint: raise memory={enough})"
                );
                Failure::new(FailureKind::Memory, text)
            }
            Excess::Killed(_) => {
                let text = "the worker's machine ran out of memory and its kernel ended the \
                            function, which had not used all it asked for (hint: give jobs on \
                            this worker less with `worker.memory_mib`)";
                Failure::new(FailureKind::Crash, text).with_exit_code(137)
            }
        }
    }
}

/// The next round figure above what was used, with some air.
fn suggestion(used_mib: u64) -> u64 {
    (used_mib + used_mib / 4).next_multiple_of(128)
}

fn interval(period: Duration) -> Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::scripted::Scripted;

    fn asked(memory_mib: u64) -> Limits {
        Limits { memory_mib, cpu_millicores: 1000, cpu_most_millicores: None }
    }

    #[tokio::test(start_paused = true)]
    async fn both_figures_must_be_over_the_limit() {
        let scripted = Scripted::default();
        let supervisor = Supervisor::Scripted(scripted.clone());
        let mut watch = MemoryWatch::unlimited();
        watch.set_baseline(50 * MIB);
        watch.set_limits(&asked(128), &supervisor);
        scripted.use_memory(200 * MIB, 170 * MIB);
        let quiet = tokio::time::timeout(Duration::from_secs(10), watch.exceeded(&supervisor));
        assert!(quiet.await.is_err(), "the exact figure is below the limit");
        scripted.use_memory(400 * MIB, 351 * MIB);
        assert_eq!(watch.exceeded(&supervisor).await, Excess::Used(301 * MIB));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_kernel_holds_is_left_to_the_kernel() {
        let scripted = Scripted::default();
        scripted.hold();
        let supervisor = Supervisor::Scripted(scripted.clone());
        let mut watch = MemoryWatch::unlimited();
        watch.set_baseline(50 * MIB);
        watch.set_limits(&asked(128), &supervisor);
        assert_eq!(scripted.held_to(), Some(178 * MIB));
        scripted.use_memory(400 * MIB, 400 * MIB);
        let quiet = tokio::time::timeout(Duration::from_secs(10), watch.exceeded(&supervisor));
        assert!(quiet.await.is_err());
        let tally = Tally { memory_kills: 1, memory_hits: 9, refused_processes: 0 };
        scripted.count(tally);
        assert_eq!(watch.exceeded(&supervisor).await, Excess::Killed(tally));
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_asked_for_nothing_has_no_limit() {
        let scripted = Scripted::default();
        scripted.hold();
        scripted.use_memory(u64::MAX, u64::MAX);
        let supervisor = Supervisor::Scripted(scripted.clone());
        let mut watch = MemoryWatch::unlimited();
        watch.set_limits(&asked(0), &supervisor);
        assert_eq!(scripted.held_to(), None);
        let quiet = tokio::time::timeout(Duration::from_secs(10), watch.exceeded(&supervisor));
        assert!(quiet.await.is_err());
    }

    #[tokio::test]
    async fn the_failure_says_what_was_asked_and_used() {
        let mut watch = MemoryWatch::unlimited();
        watch.set_limits(&asked(128), &Supervisor::Scripted(Scripted::default()));
        let failure = watch.failure(Excess::Used(301 * MIB));
        assert_eq!(
            failure.message,
            "memory limit exceeded: the function asked for 128 MiB and used 301 MiB \
             (hint: raise memory=384)"
        );
        assert_eq!(failure.exit_code, 137);
        let tally = Tally { memory_kills: 1, memory_hits: 9, refused_processes: 0 };
        let failure = watch.failure(Excess::Killed(tally));
        assert_eq!(
            failure.message,
            "memory limit exceeded: the function asked for 128 MiB and needed more, so the kernel \
             ended it (hint: raise memory=256)"
        );
        assert_eq!((failure.kind, failure.exit_code), (FailureKind::Memory, 137));
    }

    #[tokio::test]
    async fn a_program_with_a_limit_of_its_own_that_was_killed_may_have_wanted_too_much() {
        let killed = Failure::new(FailureKind::Crash, "the function's process was killed")
            .with_exit_code(137);
        let mut watch = MemoryWatch::unlimited();
        watch.set_limits(&asked(128), &Supervisor::Scripted(Scripted::default()));
        assert!(watch.suspect(&killed).is_none(), "it had no limit of its own");
        watch.set_fatal();
        let failure = watch.suspect(&killed).unwrap();
        assert_eq!((failure.kind, failure.exit_code), (FailureKind::Memory, 137));
        assert!(failure.message.ends_with("asked for 128 MiB (hint: raise memory=256)"));
        assert!(watch.suspect(&killed.with_exit_code(139)).is_none());
    }

    #[tokio::test]
    async fn a_machine_without_memory_is_not_the_jobs_fault() {
        let watch = MemoryWatch::unlimited();
        let tally = Tally { memory_kills: 1, ..Tally::default() };
        let failure = watch.failure(Excess::Killed(tally));
        assert!(failure.kind.is_retryable());
        assert_eq!(failure.exit_code, 137);
    }
}
