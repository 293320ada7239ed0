//! State directories.

use crate::doctor::facts::Directory;
use crate::report::Check;

/// Free space that one environment with PyTorch takes; less than this fails soon.
pub(super) const WORKER_MIB: u64 = 10 * 1024;

/// With less free space than this, nothing works.
const LEAST_MIB: u64 = 1024;

/// File systems of other machines: slow, and their locks and links differ.
const REMOTE: [&str; 12] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "afpfs",
    "webdav",
    "fuse.sshfs",
    "ceph",
    "lustre",
    "glusterfs",
    "fuse.glusterfs",
];

/// Whether state can be kept in a directory; `wanted` is the free space it should have, in MiB.
pub(super) fn check(name: &'static str, directory: &Directory, wanted: u64) -> Check {
    let path = directory.path.display();
    if let Some(why) = &directory.unwritable {
        return Check::fail(name, format!("`{path}` cannot be written: {why}"))
            .fix("give the directory to this user, or choose another with --state");
    }
    let kind = directory.filesystem.as_deref().unwrap_or("unknown file system");
    if REMOTE.contains(&kind) {
        return Check::warn(name, format!("`{path}` is on another machine ({kind})"))
            .fix("keep state on a disk of this machine: choose another directory with --state");
    }
    let Some(free) = directory.free_mib else {
        return Check::ok(name, format!("`{path}` ({kind})"));
    };
    let found = format!("`{path}` ({kind}), {} free", size(free));
    let fix = format!("make room: at least {} should be free", size(wanted.max(LEAST_MIB)));
    match free {
        free if free < LEAST_MIB.min(wanted) => Check::fail(name, found).fix(fix),
        free if free < wanted => Check::warn(name, found).fix(fix),
        _ => Check::ok(name, found),
    }
}

/// A size as a person says it.
fn size(mib: u64) -> String {
    if mib < 10 * 1024 { format!("{mib} MiB") } else { format!("{} GiB", mib / 1024) }
}
