//! What the supervisor asks of the system for itself.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::errno::Errno;
use nix::sys::select::{FdSet, pselect};
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask,
};
use nix::unistd::setsid;

use super::receive::Control;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
mod macos;
#[cfg(not(target_os = "linux"))]
use macos as system;

pub(crate) use system::RECEIVE_FLAGS;
pub(super) use system::{enter_program, hurry};

/// Closes every descriptor from `first` on, whoever left it open.
pub(super) fn close_from(first: RawFd) -> io::Result<()> {
    let open: Vec<RawFd> = fs::read_dir("/dev/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd >= first)
        .collect();
    for fd in open {
        // One of them was the directory itself, which is closed already.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

/// Leaves the worker's session, so that no signal meant for the worker's group ends the supervisor
/// before it has cleaned up, and adopts the orphans of the job.
pub(super) fn detach() -> io::Result<()> {
    // Fails only for the leader of a group, which has nobody to leave.
    let _ = setsid();
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    for signal in [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGPIPE,
    ] {
        // SAFETY: ignoring a signal runs no code.
        unsafe { sigaction(signal, &ignore) }?;
    }
    system::adopt_orphans()
}

/// Lets the end of a child interrupt [`Woken::wait`], and nothing else; returns the mask for that.
pub(super) fn catch_children() -> io::Result<SigSet> {
    extern "C" fn nothing(_signal: libc::c_int) {}

    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGCHLD);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None)?;
    let handler = SigHandler::Handler(nothing);
    // SAFETY: the handler does nothing at all; the signal only interrupts the wait.
    unsafe { sigaction(Signal::SIGCHLD, &SigAction::new(handler, SaFlags::empty(), blocked)) }?;
    Ok(SigSet::empty())
}

/// Why the supervisor stopped waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// There is something to read, or the worker's end is closed.
    Control,
    /// A child may have ended, or it is time for another look.
    Other,
}

impl Woken {
    pub(super) fn wait(control: &Control, mask: &SigSet) -> Self {
        let mut readable = FdSet::new();
        readable.insert(control.as_fd());
        let timeout = system::LOOK_EVERY;
        let highest = control.as_fd().as_raw_fd() + 1;
        match pselect(highest, &mut readable, None, None, &timeout, mask) {
            Ok(0) | Err(Errno::EINTR) => Self::Other,
            // Any other error is about the socket; reading it tells what is wrong.
            Ok(_) | Err(_) => Self::Control,
        }
    }
}
