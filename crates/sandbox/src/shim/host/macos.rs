use std::io;

use nix::sys::socket::MsgFlags;
use nix::sys::time::TimeSpec;
use nix::unistd::{Pid, getppid};

/// There is no flag for it here: `start` sees to it that children get only what they are given.
pub(crate) const RECEIVE_FLAGS: MsgFlags = MsgFlags::empty();

/// Orphans are known only if they were seen before, so the supervisor looks now and then.
pub(super) const LOOK_EVERY: Option<TimeSpec> = Some(TimeSpec::new(1, 0));

/// Orphans go to `launchd` here, whatever a process asks for.
pub(super) fn adopt_orphans() -> io::Result<()> {
    Ok(())
}

/// Gets more of the processor than a job that keeps it busy, if that is allowed.
pub(in crate::shim) fn hurry() {
    // SAFETY: plain numbers in, a number out; no memory is touched.
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -10) };
}

/// The last steps of the new process, before it becomes the program.
///
/// Runs between fork and exec. No signal comes when the supervisor dies on this system.
pub(in crate::shim) fn enter_program(supervisor: Pid) -> io::Result<()> {
    if getppid() != supervisor {
        return Err(io::Error::other("the supervisor died"));
    }
    Ok(())
}
