//! Namespaces of the job's own.

use std::fs;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use super::Failed;
use crate::isolation::{Means, Step};

/// Leaves the worker's namespaces for new ones: of mounts and System V objects, and of the network
/// if `apart`. Without root's rights that takes a user namespace, in which this process is the user
/// that it was.
pub(super) fn enter(means: Means, apart: bool) -> Result<(), Failed> {
    if means.user_namespace {
        user_namespace().map_err(|error| (Step::UserNamespace, error))?;
    }
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC;
    if apart {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    unshare(flags).map_err(|errno| (Step::Namespaces, errno.into()))
}

fn user_namespace() -> std::io::Result<()> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)?;
    // The kernel wants this given up before a group may be mapped.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}
