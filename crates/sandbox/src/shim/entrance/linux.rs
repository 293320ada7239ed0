//! The new process on Linux, from its first instruction to the program.

use std::io;
use std::os::fd::AsFd;

use nix::sys::prctl;
use nix::sys::resource::Resource;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, setsid};

use crate::account::Account;
use crate::launch::{Launch, Limits};
use crate::shim::confine::Confinement;
use crate::shim::host;
use crate::shim::receive::Control;
use crate::shim::start::{errno, keep_channel, limit, reset_signals};
use crate::wire::Reply;

/// What the new process does before it becomes the program, made ready by the supervisor.
pub(in crate::shim) struct Entrance {
    supervisor: Pid,
    limits: Limits,
    account: Option<Account>,
    confinement: Option<Confinement>,
}

impl Entrance {
    /// Prepares for a launch, or says why it cannot be.
    pub(in crate::shim) fn new(launch: &Launch, control: &Control) -> Result<Self, Reply> {
        let confinement = match &launch.isolation {
            Some(isolation) => {
                let made = control.as_fd().try_clone_to_owned().and_then(|control| {
                    let cwd = launch.cwd.clone();
                    Confinement::new(isolation.clone(), launch.account, cwd, control)
                });
                Some(made.map_err(|error| Reply::NoExec(errno(&error)))?)
            }
            None => None,
        };
        let (limits, account) = (launch.limits.clone(), launch.account);
        Ok(Self { supervisor: getpid(), limits, account, confinement })
    }

    /// Does it.
    pub(in crate::shim) fn enter(&self) -> io::Result<()> {
        setsid()?;
        reset_signals()?;
        host::enter_program(self.supervisor)?;
        if let Some(most) = self.limits.open_files {
            limit(Resource::RLIMIT_NOFILE, most)?;
        }
        if !self.limits.core_dumps {
            limit(Resource::RLIMIT_CORE, 0)?;
        }
        if let (Some(most), Some(_)) = (self.limits.processes, self.account) {
            limit(Resource::RLIMIT_NPROC, most)?;
        }
        keep_channel()?;
        match (&self.confinement, self.account) {
            (Some(confinement), _) => confinement.enter(),
            (None, Some(account)) => become_account(account),
            (None, None) => Ok(()),
        }
    }
}

/// Becomes an account; the signal at the supervisor's death is forgotten by that.
pub(in crate::shim) fn become_account(account: Account) -> io::Result<()> {
    account.enter()?;
    Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)
}
