//! Killing processes that may be starting others at the same moment.
//!
//! First everyone is stopped, parents before children are looked up, until a look finds nobody who
//! runs: a stopped process starts nothing and restarts nobody. Then everyone is killed.

use std::collections::HashSet;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::host;
use super::job::Job;
use super::receive::Control;
use crate::oci::Engine;
use crate::tree::{Identity, alive};

/// How long a reap goes on before it gives up.
const REAP_TIME: Duration = Duration::from_secs(2);

/// Looks at a tree that keeps changing before those found so far are killed.
const STOP_LOOKS: u32 = 100;

/// The first and the longest pause while waiting for killed processes to be gone.
const PAUSES: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(20));

/// Who is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whom {
    /// Those that are neither the program nor marked.
    Unmarked,
    Everyone,
}

impl Job {
    /// Kills those that are neither the program nor marked, and returns how many.
    pub(super) fn reap(&mut self) -> io::Result<usize> {
        if self.engine.is_some_and(Engine::is_opaque) {
            // What can be seen is all the container's own machinery.
            return Ok(0);
        }
        let start = Instant::now();
        let mut killed = 0;
        loop {
            let victims = self.stop(Whom::Unmarked)?;
            if victims.is_empty() {
                return Ok(killed);
            }
            killed += victims.len();
            kill_all(&victims);
            let mut pause = Pause::new();
            while self.any_alive(&victims) {
                if start.elapsed() > REAP_TIME {
                    return Err(Errno::ETIMEDOUT.into());
                }
                pause.rest();
            }
            if start.elapsed() > REAP_TIME {
                return Err(Errno::ETIMEDOUT.into());
            }
        }
    }

    /// Kills everyone and returns when no one is left, telling the worker when the program ends.
    pub(super) fn end(&mut self, control: &Control) {
        self.collect();
        self.tell_exit(control);
        host::hurry();
        let mut pause = Pause::new();
        loop {
            // Without a list of processes the program, and then its orphans, are killed one by one.
            let victims = self.stop(Whom::Everyone).unwrap_or_default();
            kill_all(&victims);
            if !self.ended() {
                let _ = kill(Pid::from_raw(self.program), Signal::SIGKILL);
            }
            let childless = self.collect();
            self.tell_exit(control);
            if childless && victims.is_empty() {
                return;
            }
            pause.rest();
        }
    }

    /// Stops the victims until a complete look finds none that was not stopped; returns them.
    fn stop(&mut self, whom: Whom) -> io::Result<HashSet<Identity>> {
        let mut stopped = HashSet::new();
        for _ in 0..STOP_LOOKS {
            // Else those that end meanwhile make every look longer.
            self.collect();
            let Self { program, tree, marked, .. } = self;
            let before = stopped.len();
            let complete = tree.walk(&mut |seen| {
                let spared = whom == Whom::Unmarked
                    && (seen.identity.pid == *program || marked.contains(&seen.identity));
                if !spared && !seen.dead && stopped.insert(seen.identity) {
                    signal(seen.identity, Signal::SIGSTOP);
                }
            })?;
            if complete && stopped.len() == before {
                break;
            }
        }
        Ok(stopped)
    }

    fn any_alive(&mut self, victims: &HashSet<Identity>) -> bool {
        // Orphans are children of the supervisor: they are gone once it has taken notice.
        self.collect();
        victims.iter().any(|victim| alive(*victim))
    }
}

fn kill_all(victims: &HashSet<Identity>) {
    // Stopping them took a while, in which one may have ended and another got its id.
    for victim in victims.iter().filter(|victim| alive(**victim)) {
        signal(*victim, Signal::SIGKILL);
    }
}

fn signal(to: Identity, signal: Signal) {
    // It may have ended since it was seen; if it cannot be signalled it is found alive later.
    let _ = kill(Pid::from_raw(to.pid), signal);
}

/// Pauses that grow.
struct Pause(Duration);

impl Pause {
    fn new() -> Self {
        Self(PAUSES.0)
    }

    fn rest(&mut self) {
        thread::sleep(self.0);
        self.0 = (self.0 * 2).min(PAUSES.1);
    }
}
