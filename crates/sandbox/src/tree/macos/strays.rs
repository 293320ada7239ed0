//! Processes that a killed supervisor could not end.

use std::path::Path;

use nix::unistd::getpid;

use crate::tree::end_found;

/// Kills every process of this user that was started with one of these directories, or a path
/// below, in a variable of its environment, as all jobs are; returns how many.
#[must_use]
pub fn end_strays(directories: &[&Path]) -> usize {
    let own = getpid().as_raw();
    end_found(|| {
        let mut strays = super::pids().unwrap_or_default();
        strays.retain(|pid| {
            *pid != own && directories.iter().any(|directory| super::is_marked(*pid, directory))
        });
        strays
    })
}
