//! The supervisor: a process of its own between the worker and the job.
//!
//! It has one thread and does one thing at a time. Its standard input is the control socket.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod confine;
#[cfg(target_os = "linux")]
mod container;
mod entrance;
mod host;
mod job;
mod receive;
mod start;
mod supervise;
mod sweep;

#[cfg(target_os = "linux")]
pub(crate) use self::confine::landlock_version;
pub(crate) use self::host::RECEIVE_FLAGS;
use self::host::Woken;
use self::job::Job;
use self::receive::Control;
use crate::wire::Reply;

/// The hidden command under which [`shim_main`] runs.
pub const SHIM_COMMAND: &str = "exec-shim";

/// The body of the hidden command `exec-shim`: starts one program and supervises it to its end.
///
/// To be called before any thread is started. Arguments are ignored: what to start comes over the
/// socket that is its standard input. The exit code is 0 if no process of the job is left.
pub fn shim_main(args: impl Iterator<Item = OsString>) -> ExitCode {
    drop(args);
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // The worker gave up before it had said what to start.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed, and then there is nobody to tell.
            let _ = writeln!(io::stderr(), "metal9 {SHIM_COMMAND}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    host::close_from(start::CHANNEL_FD)?;
    let control = Control::standard_input();
    host::detach()?;
    let wait_mask = host::catch_children()?;

    let (launch, fds) = control.receive_launch()?;
    let (group, mark) = (launch.group.clone(), launch.mark());
    let container = launch.container.clone();
    let program = match start::start(launch, fds, &control) {
        Ok(program) => program,
        Err(refusal) => {
            #[cfg(target_os = "linux")]
            if let Some(it) = &container {
                // What a runtime has begun may be there although it says that it failed.
                Job::new(job::NOBODY, mark, Some(it.runtime.engine)).end(&control);
                container::leave(it);
            }
            // The worker reads the reason; that it may be gone changes nothing.
            return control.send(refusal).or(Ok(()));
        }
    };
    let engine = container.as_ref().map(|container| container.runtime.engine);
    let mut job = Job::new(program, mark, engine);
    let _ = control.send(Reply::Started(program));
    supervise::until_over(&control, &mut job, || Woken::wait(&control, &wait_mask));
    job.tell_exit(&control);
    // All at once first, so that nobody outruns those who look for them one by one.
    if let Some(group) = &group {
        group.kill();
    }
    job.end(&control);
    if let Some(group) = &group {
        group.empty()?;
    }
    #[cfg(target_os = "linux")]
    if let Some(it) = &container {
        container::leave(it);
    }
    let Some(group) = group else { return Ok(()) };
    // A worker that is there still wants to know what the kernel has counted.
    if control.is_closed() { group.remove() } else { Ok(()) }
}
