//! Processes that a killed supervisor could not end.

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};

/// How often strays are looked for: those that are killed may have been starting others.
const LOOKS: usize = 5;

/// Kills every process of this user that was started with one of these directories, or a path
/// below, in a variable of its environment, as all jobs are; returns how many.
#[must_use]
pub fn end_strays(directories: &[&Path]) -> usize {
    let own = getpid().as_raw();
    let mut ended = 0;
    for _ in 0..LOOKS {
        let mut strays = super::pids().unwrap_or_default();
        strays.retain(|pid| {
            *pid != own && directories.iter().any(|directory| super::is_marked(*pid, directory))
        });
        if strays.is_empty() {
            break;
        }
        ended += strays.len();
        for pid in strays {
            // It may have ended by itself, and then there is nothing to do.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    ended
}
