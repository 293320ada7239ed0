//! Noticing that the machine has slept.
//!
//! Everything that the worker waits for goes by a clock that stands still meanwhile, so nothing is
//! late after a wake-up. The connection to the gateway is dead by then, which its keep-alive finds
//! out within seconds; jobs are kept, and the next session says which there are.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Clocks are read one after the other, and time may pass between: less than this is no sleep.
const LEAST: Duration = Duration::from_secs(2);

/// How long the machine has slept since it was started, by its own clocks; setting the time of day
/// does not change it. Nothing if they cannot be read.
pub(crate) fn asleep() -> Option<Duration> {
    let (whole, awake) = clocks();
    // In this order, what passes between the two is not taken for sleep.
    let whole = clock_gettime(whole).ok()?;
    let awake = clock_gettime(awake).ok()?;
    Some(Duration::from(whole).saturating_sub(Duration::from(awake)))
}

/// A clock that goes on during sleep and one that does not.
#[cfg(target_os = "macos")]
fn clocks() -> (ClockId, ClockId) {
    // CLOCK_MONOTONIC_RAW and CLOCK_UPTIME_RAW of macOS's <time.h>.
    (ClockId::from_raw(4), ClockId::from_raw(8))
}

/// See above.
#[cfg(not(target_os = "macos"))]
fn clocks() -> (ClockId, ClockId) {
    (ClockId::CLOCK_BOOTTIME, ClockId::CLOCK_MONOTONIC)
}

/// Remembers how long the machine had slept.
#[derive(Debug, Default)]
pub(crate) struct Sleeper(Option<Duration>);

impl Sleeper {
    /// For how long the machine has slept since the last look, if it has. `asleep` is what
    /// [`asleep`] says.
    pub(crate) fn look(&mut self, asleep: Option<Duration>) -> Option<Duration> {
        let asleep = asleep?;
        let before = self.0.replace(asleep)?;
        Some(asleep.saturating_sub(before)).filter(|slept| *slept >= LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_noticed_once() {
        let mut sleeper = Sleeper::default();
        let at = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(sleeper.look(at(500)), None, "what was before the start is of no interest");
        assert_eq!(sleeper.look(at(500)), None);
        assert_eq!(sleeper.look(at(530)), Some(Duration::from_secs(30)));
        assert_eq!(sleeper.look(at(531)), None, "time that passes between two readings");
        assert_eq!(sleeper.look(None), None);
    }

    #[test]
    fn this_machine_does_not_sleep_between_two_looks() {
        let mut sleeper = Sleeper::default();
        assert!(asleep().is_some());
        assert_eq!((sleeper.look(asleep()), sleeper.look(asleep())), (None, None));
    }
}
