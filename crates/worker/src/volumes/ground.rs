//! What a running container's volumes stand on: lost when the file system is mounted anew, because
//! the container goes on seeing the old one, which is dead.

use std::time::Duration;

use metal9_juicefs::{Footing, Sound};
use tokio::time::{Interval, MissedTickBehavior};

/// How often to look.
const EVERY: Duration = Duration::from_millis(500);

/// The ground of a container; none if its volumes need no watching.
#[derive(Debug, Default)]
pub(crate) struct Ground {
    watched: Option<(Footing, Interval)>,
    lost: bool,
}

impl Ground {
    /// To be made on the runtime.
    pub(crate) fn new(footing: Option<Footing>) -> Self {
        let watched = footing.map(|footing| {
            let mut ticks = tokio::time::interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            (footing, ticks)
        });
        Self { watched, lost: false }
    }

    /// Whether there is anything to watch: a file system that is not this machine's own.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.is_some()
    }

    /// Whether it was found lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Returns once, when it is lost. Can be dropped and called again.
    pub(crate) async fn lost(&mut self) {
        let Some((footing, ticks)) = self.watched.as_mut().filter(|_| !self.lost) else {
            return std::future::pending().await;
        };
        loop {
            ticks.tick().await;
            if footing.look().await == Sound::No {
                self.lost = true;
                return;
            }
        }
    }

    /// How it is now.
    pub(crate) async fn look(&self) -> Sound {
        match &self.watched {
            Some(_) if self.lost => Sound::No,
            Some((footing, _)) => footing.look().await,
            None => Sound::Yes,
        }
    }
}

/// Why a container ended whose ground is lost.
pub(crate) const LOST: &str =
    "the file system of its volumes was mounted anew, and the container saw the old one";
