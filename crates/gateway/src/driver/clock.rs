//! The driver's clock: steady, and without the time in which the gateway was away.
//!
//! A process that is stopped, or a machine that sleeps, hears nothing meanwhile. What was silent
//! for that long is the gateway, not its workers, so that time does not count against them.

use std::time::{Duration, Instant};

use metal9_types::Moment;

/// The driver looks at its clock at least this often while it is there.
pub(super) const PULSE: Duration = Duration::from_secs(1);

/// A machine under load may be late by this much without having been away.
const SLACK: Duration = Duration::from_millis(500);

/// Time since the gateway started, in the parts in which it ran.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    /// Time since the start at the last look.
    seen: Duration,
    away: Duration,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), seen: Duration::ZERO, away: Duration::ZERO }
    }

    /// The time; must be asked for at least every [`PULSE`].
    pub(super) fn now(&mut self) -> Moment {
        self.look(self.started.elapsed())
    }

    fn look(&mut self, elapsed: Duration) -> Moment {
        let gap = elapsed.saturating_sub(self.seen);
        if gap > PULSE + SLACK {
            let away = gap - PULSE;
            tracing::warn!(
                seconds = away.as_secs_f32(),
                "the scheduler stood still; workers are given that time"
            );
            self.away += away;
        }
        self.seen = elapsed;
        Moment::ZERO.after(elapsed.saturating_sub(self.away))
    }

    /// When that is, if the gateway is not away until then.
    pub(super) fn at(&self, moment: Moment) -> tokio::time::Instant {
        let since = Duration::from_micros(moment.0);
        tokio::time::Instant::from_std(self.started + self.away + since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_away_does_not_pass() {
        let mut clock = Clock::new();
        let seconds = Duration::from_secs;
        assert_eq!(clock.look(seconds(1)), Moment(1_000_000));
        assert_eq!(clock.look(seconds(2)), Moment(2_000_000));
        // Stopped for a minute.
        assert_eq!(clock.look(seconds(62)), Moment(3_000_000));
        assert_eq!(clock.look(seconds(63)), Moment(4_000_000));
    }

    #[test]
    fn a_busy_machine_is_not_away() {
        let mut clock = Clock::new();
        assert_eq!(clock.look(Duration::from_millis(1400)), Moment(1_400_000));
        assert_eq!(clock.look(Duration::from_millis(1300)), Moment(1_300_000));
    }
}
