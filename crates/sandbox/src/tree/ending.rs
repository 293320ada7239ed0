//! Killing processes that are found by what they are, not by who started them.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often they are looked for: those that are killed may have been starting others.
const LOOKS: usize = 5;

/// Kills the processes that `find` tells until it finds none; returns how many.
pub fn end_found(mut find: impl FnMut() -> Vec<i32>) -> usize {
    let mut ended = 0;
    for _ in 0..LOOKS {
        let found = find();
        if found.is_empty() {
            break;
        }
        ended += found.len();
        for pid in found {
            // It may have ended by itself, and then there is nothing to do.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    ended
}
