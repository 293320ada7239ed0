//! Carries out a [`Plan`] on macOS.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use nix::sys::resource::Resource;
use nix::unistd::{Pid, getpid, setsid};

mod system;

use crate::darwin::{Facts, Plan, PlanStep, plan};
use crate::isolation::{Network, Step};
use crate::launch::{Launch, RUNNER_FD_VARIABLE};
use crate::shim::host;
use crate::shim::receive::{Control, send_with};
use crate::shim::start::{CHANNEL_FD, errno, keep_channel, limit, reset_signals};
use crate::wire::{MAX_LISTENERS, Reply};

/// What the new process does before it becomes the program, made ready by the supervisor.
pub(in crate::shim) struct Entrance {
    supervisor: Pid,
    plan: Plan,
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    /// The supervisor's end of the control socket.
    control: OwnedFd,
    /// The worker's standard error, where a failure is explained.
    log: OwnedFd,
}

impl Entrance {
    /// Prepares for a launch, or says why it cannot be.
    pub(in crate::shim) fn new(launch: &Launch, control: &Control) -> Result<Self, Reply> {
        let not_isolated =
            |error: io::Error| Reply::NotIsolated(Step::Seatbelt.with(errno(&error)));
        let relayed = launch.isolation.as_ref().is_some_and(|isolation| {
            isolation.means.seatbelt && isolation.network == Network::GatewayOnly
        });
        let control = duplicate(control.as_fd()).map_err(not_isolated)?;
        let relay_ports =
            if relayed { listen(&control).map_err(not_isolated)? } else { Vec::new() };
        let facts = Facts { relay_ports, caches: caches(launch), kernel: kernel() };
        let plan = plan(launch, &facts).map_err(|error| not_isolated(io::Error::other(error)))?;
        let unwritten = |error: io::Error| Reply::NoExec(errno(&error));
        let log = duplicate(io::stderr().as_fd()).map_err(unwritten)?;
        let program = launch.program.clone().into_os_string();
        let arguments = [program.clone()].into_iter().chain(launch.args.iter().cloned());
        Ok(Self {
            supervisor: getpid(),
            arguments: arguments.map(text).collect::<io::Result<_>>().map_err(unwritten)?,
            environment: environment(launch).map_err(unwritten)?,
            program: text(program).map_err(unwritten)?,
            plan,
            control,
            log,
        })
    }

    /// Does it. Returns only if something fails.
    pub(in crate::shim) fn enter(&self) -> io::Result<()> {
        host::enter_program(self.supervisor)?;
        keep_channel()?;
        self.plan.steps.iter().try_for_each(|step| self.take(step))
    }

    fn take(&self, step: &PlanStep) -> io::Result<()> {
        match step {
            PlanStep::Session => setsid().map(drop).map_err(io::Error::from),
            PlanStep::DefaultSignals => reset_signals(),
            PlanStep::OpenFiles(most) => limit(Resource::RLIMIT_NOFILE, *most),
            PlanStep::NoCoreDumps => limit(Resource::RLIMIT_CORE, 0),
            PlanStep::Processes(most) => system::limit_processes(*most),
            PlanStep::Foreground => {
                // A nicety: the program runs without it too.
                let _ = system::leave_background();
                Ok(())
            }
            PlanStep::Account(account) => self.tell(Step::Account, account.enter()),
            PlanStep::Sandbox(profile) => {
                let entered = text(OsString::from(profile)).and_then(|text| system::sandbox(&text));
                self.tell(Step::Seatbelt, entered)
            }
            PlanStep::Program { memory_mib, .. } => {
                let attributes = system::Attributes::new(*memory_mib);
                let attributes = self.tell(Step::Program, attributes)?;
                Err(attributes.exec(&self.program, &self.arguments, &self.environment))
            }
        }
    }

    /// Tells the worker which step failed, and its log why.
    fn tell<T>(&self, step: Step, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            if let Ok(mut log) = self.log.try_clone().map(File::from) {
                let _ = writeln!(log, "metal9 exec-shim: {step} failed: {error}");
            }
            // The worker may be gone, and then nobody wants to know.
            let _ = send_with(&self.control, Reply::NotIsolated(step.with(errno(error))), &[]);
        })
    }
}

/// A descriptor that the program does not inherit.
fn duplicate(fd: std::os::fd::BorrowedFd<'_>) -> io::Result<OwnedFd> {
    fd.try_clone_to_owned()
}

/// Listens where the worker is to relay, and hands it the sockets. There are no networks of one's own
/// here, so the profile of the job opens these ports of the machine's loopback interface.
fn listen(control: &OwnedFd) -> io::Result<Vec<u16>> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listeners: Vec<TcpListener> =
        (0..MAX_LISTENERS).map(|_| bind()).collect::<io::Result<_>>()?;
    let port = |listener: &TcpListener| Ok(listener.local_addr()?.port());
    let ports = listeners.iter().map(port).collect::<io::Result<_>>()?;
    let sockets: Vec<OwnedFd> = listeners.into_iter().map(OwnedFd::from).collect();
    let count = i32::try_from(sockets.len()).unwrap_or(0);
    send_with(control, Reply::Listening(count), &sockets)?;
    Ok(ports)
}

/// The directory of caches of the account that the job will run as.
fn caches(launch: &Launch) -> Option<PathBuf> {
    launch.isolation.as_ref().filter(|isolation| isolation.gpu)?;
    let path = system::as_account(launch.account, system::cache_directory).ok()??;
    std::fs::canonicalize(path).ok()
}

/// The major version of the kernel; 0 if it does not say.
fn kernel() -> u32 {
    let release = nix::sys::utsname::uname();
    let release = release.ok().and_then(|it| it.release().to_str().map(str::to_owned));
    let major = release.and_then(|release| release.split('.').next()?.parse().ok());
    major.unwrap_or(0)
}

fn environment(launch: &Launch) -> io::Result<Vec<CString>> {
    let channel = (RUNNER_FD_VARIABLE.to_owned(), CHANNEL_FD.to_string());
    let variables = launch.env.iter().chain([&channel]);
    variables.map(|(name, value)| text(format!("{name}={value}").into())).collect()
}

fn text(text: OsString) -> io::Result<CString> {
    CString::new(text.into_vec()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}
