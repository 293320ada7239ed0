//! Holding a container to the memory it asked for.

use std::time::Duration;

use metal9_types::{Failure, FailureKind};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::runner::Supervisor;

const MIB: u64 = 1024 * 1024;

/// How often a container is looked at while it runs a call.
const BUSY: Duration = Duration::from_millis(75);

/// How often it is looked at while it waits for one.
const IDLE: Duration = Duration::from_secs(1);

/// Looks at a container's memory from time to time.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    asked_mib: u64,
    /// What the runner itself needed before any of the user's code was loaded, in bytes.
    baseline: u64,
    interval: Interval,
}

impl MemoryWatch {
    /// A watch that says nothing.
    pub(crate) fn unlimited() -> Self {
        Self { asked_mib: 0, baseline: 0, interval: interval(IDLE) }
    }

    /// The runner is ready, and uses this many bytes by itself.
    pub(crate) fn set_baseline(&mut self, bytes: u64) {
        self.baseline = bytes;
    }

    /// From now on the container may use this much beside; 0 is no limit.
    pub(crate) fn set_limit(&mut self, asked_mib: u64) {
        self.asked_mib = asked_mib;
        self.interval = interval(BUSY);
    }

    /// A call begins or ends: look more or less often.
    pub(crate) fn set_busy(&mut self, busy: bool) {
        self.interval = interval(if busy { BUSY } else { IDLE });
    }

    /// Returns the bytes used, without the runner's own, once they are more than what was asked
    /// for. Can be dropped and called again.
    pub(crate) async fn exceeded(&mut self, supervisor: &Supervisor) -> u64 {
        if self.asked_mib == 0 {
            return std::future::pending().await;
        }
        loop {
            self.interval.tick().await;
            if let Some(used) = self.check(supervisor) {
                return used;
            }
        }
    }

    /// The quick figure counts shared memory more than once, so the exact one must agree.
    fn check(&self, supervisor: &Supervisor) -> Option<u64> {
        let limit = self.baseline.saturating_add(self.asked_mib.saturating_mul(MIB));
        let over = |bytes: std::io::Result<u64>| bytes.ok().filter(|bytes| *bytes > limit);
        over(supervisor.memory())?;
        over(supervisor.memory_exact()).map(|used| used - self.baseline)
    }

    /// What a call that used this much failed with.
    pub(crate) fn failure(&self, used: u64) -> Failure {
        let (asked, used) = (self.asked_mib, used.div_ceil(MIB));
        let enough = suggestion(used);
        Failure::new(
            FailureKind::Memory,
            format!(
                "memory limit exceeded: the function asked for {asked} MiB and used {used} MiB \
                 (hint: raise memory={enough})"
            ),
        )
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

    #[tokio::test(start_paused = true)]
    async fn both_figures_must_be_over_the_limit() {
        let scripted = Scripted::default();
        let supervisor = Supervisor::Scripted(scripted.clone());
        let mut watch = MemoryWatch::unlimited();
        watch.set_baseline(50 * MIB);
        watch.set_limit(128);
        scripted.use_memory(200 * MIB, 170 * MIB);
        let quiet = tokio::time::timeout(Duration::from_secs(10), watch.exceeded(&supervisor));
        assert!(quiet.await.is_err(), "the exact figure is below the limit");
        scripted.use_memory(400 * MIB, 351 * MIB);
        assert_eq!(watch.exceeded(&supervisor).await, 301 * MIB);
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_asked_for_nothing_has_no_limit() {
        let scripted = Scripted::default();
        scripted.use_memory(u64::MAX, u64::MAX);
        let mut watch = MemoryWatch::unlimited();
        watch.set_limit(0);
        let supervisor = Supervisor::Scripted(scripted);
        let quiet = tokio::time::timeout(Duration::from_secs(10), watch.exceeded(&supervisor));
        assert!(quiet.await.is_err());
    }

    #[tokio::test]
    async fn the_failure_says_what_was_asked_and_used() {
        let mut watch = MemoryWatch::unlimited();
        watch.set_limit(128);
        let failure = watch.failure(301 * MIB);
        assert_eq!(
            failure.message,
            "memory limit exceeded: the function asked for 128 MiB and used 301 MiB \
             (hint: raise memory=384)"
        );
        assert_eq!(failure.exit_code, 137);
    }
}
