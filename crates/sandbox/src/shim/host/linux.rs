use std::fs;
use std::io;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::socket::MsgFlags;
use nix::sys::time::TimeSpec;
use nix::unistd::{Pid, getppid};

/// Received descriptors are not for children unless they are given to them.
pub(crate) const RECEIVE_FLAGS: MsgFlags = MsgFlags::MSG_CMSG_CLOEXEC;

/// Every change that matters wakes the supervisor; no need to look from time to time.
pub(super) const LOOK_EVERY: Option<TimeSpec> = None;

/// How much sooner than the worker and the supervisor a job is ended when memory runs out.
const OOM_SCORE_STEP: i32 = 200;

/// Makes this process the parent of all orphans below it.
pub(super) fn adopt_orphans() -> io::Result<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// Gets more of the processor than a job that keeps it busy, if that is allowed.
pub(in crate::shim) fn hurry() {
    // SAFETY: plain numbers in, a number out; no memory is touched.
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -10) };
}

/// The last steps of the new process, before it becomes the program.
///
/// Runs between fork and exec.
pub(in crate::shim) fn enter_program(supervisor: Pid) -> io::Result<()> {
    // A process that gained privileges could not be killed by its supervisor.
    prctl::set_no_new_privs()?;
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != supervisor {
        return Err(io::Error::other("the supervisor died"));
    }
    raise_oom_score();
    Ok(())
}

fn raise_oom_score() {
    const PATH: &str = "/proc/self/oom_score_adj";
    let now = fs::read_to_string(PATH).ok().and_then(|text| text.trim().parse::<i32>().ok());
    // A nicety: without it the kernel still picks someone.
    let _ = fs::write(PATH, (now.unwrap_or(0) + OOM_SCORE_STEP).min(1000).to_string());
}
