//! Starting the program.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

use super::entrance::Entrance;
use super::receive::{Control, ProgramFds};
use crate::cgroup::Group;
use crate::launch::{Launch, RUNNER_FD_VARIABLE};
use crate::wire::Reply;

/// The program's descriptor of its channel.
pub(super) const CHANNEL_FD: RawFd = 3;

/// Starts the program and returns its process id, or the reply that says why it cannot be started.
pub(super) fn start(launch: Launch, fds: ProgramFds, control: &Control) -> Result<i32, Reply> {
    #[cfg(target_os = "linux")]
    if let Some(container) = &launch.container {
        return super::container::start(&launch, container, fds, control);
    }
    let [channel, stdout, stderr] = fds;
    if let Err(error) = own_only(&channel, &[&stdout, &stderr]) {
        return Err(Reply::NoExec(errno(&error)));
    }
    let doors = match launch.group.as_ref().map_or_else(|| Ok(Vec::new()), Group::doors) {
        Ok(doors) => doors,
        Err(error) => return Err(Reply::NoGroup(errno(&error))),
    };
    let entrance = Entrance::new(&launch, control)?;
    let Launch { program, args, env, cwd, .. } = launch;
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .envs(env)
        .env(RUNNER_FD_VARIABLE, CHANNEL_FD.to_string())
        .current_dir(&cwd)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr);
    // SAFETY: the supervisor has a single thread, so no lock can be held by a thread that the fork
    // does not copy, and the new process may do whatever the supervisor may.
    unsafe {
        command.pre_exec(move || {
            enter(&doors)?;
            entrance.enter()
        })
    };
    match command.spawn() {
        Ok(child) => Ok(child.id().cast_signed()),
        Err(error) => match std::fs::read_dir(&cwd) {
            Err(cause) if !is_forbidden(&cause) => Err(Reply::NoDirectory(errno(&cause))),
            _ => Err(Reply::NoExec(errno(&error))),
        },
    }
}

/// A directory can be entered though it cannot be read.
fn is_forbidden(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

pub(super) fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// Checks that the channel has the number that the program expects, which it gets because it is the
/// first descriptor that was made, and that no descriptor is inherited by accident.
pub(super) fn own_only(channel: &OwnedFd, others: &[&OwnedFd]) -> io::Result<()> {
    if channel.as_raw_fd() != CHANNEL_FD {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    for fd in others.iter().copied().chain([channel]) {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    Ok(())
}

/// Enters the job's cgroup, before anything else can go wrong or keep it from that.
pub(super) fn enter(doors: &[File]) -> io::Result<()> {
    doors.iter().try_for_each(|mut door| door.write_all(b"0"))
}

/// Lets the program inherit its channel.
pub(super) fn keep_channel() -> io::Result<()> {
    // SAFETY: descriptor 3 is the channel, as `own_only` checked, and stays open until the exec.
    let channel = unsafe { std::os::fd::BorrowedFd::borrow_raw(CHANNEL_FD) };
    fcntl(channel, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(())
}

/// Undoes what the worker's parents and the supervisor ignore or block: all of it is inherited.
pub(super) fn reset_signals() -> io::Result<()> {
    for signal in nix::sys::signal::Signal::iterator() {
        // SAFETY: the default action runs no code of this program. It cannot be set for SIGKILL and
        // SIGSTOP, whose error means nothing.
        let _ = unsafe { libc::signal(signal as libc::c_int, libc::SIG_DFL) };
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}

/// Lowers a limit to `wanted`, or as far as it goes.
pub(super) fn limit(resource: Resource, wanted: u64) -> io::Result<()> {
    let (_, most) = getrlimit(resource)?;
    let allowed = wanted.min(most);
    Ok(setrlimit(resource, allowed, allowed)?)
}
