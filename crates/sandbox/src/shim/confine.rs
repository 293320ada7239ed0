//! Isolating the new process, between fork and exec. The order matters: each step needs rights that
//! a later one gives up.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use seccompiler::BpfProgram;

use super::entrance::become_account;
use super::receive::send_with;
use crate::account::Account;
use crate::isolation::{Isolation, Network, Step};
use crate::wire::Reply;

mod access;
mod calls;
mod capabilities;
mod namespaces;
mod network;
mod surroundings;
mod view;

pub(crate) use access::version as landlock_version;
pub(super) use surroundings::Surroundings;

/// A failure and the step that failed.
type Failed = (Step, io::Error);

/// Everything that isolating one process needs, made ready by the supervisor.
pub(super) struct Confinement {
    isolation: Isolation,
    account: Option<Account>,
    filters: Vec<BpfProgram>,
    cwd: PathBuf,
    /// The supervisor's end of the control socket.
    control: OwnedFd,
}

impl Confinement {
    pub(super) fn new(
        isolation: Isolation,
        account: Option<Account>,
        cwd: PathBuf,
        control: OwnedFd,
    ) -> io::Result<Self> {
        let means = isolation.means;
        let filters = if means.seccomp { calls::filters(means.landlock > 0)? } else { Vec::new() };
        Ok(Self { isolation, account, filters, cwd, control })
    }

    /// Isolates this process. What failed is told to the worker before the error is returned.
    pub(super) fn enter(&self) -> io::Result<()> {
        self.steps().map_err(|(step, error)| {
            let number = step.with(error.raw_os_error().unwrap_or(libc::EIO));
            // The worker may be gone, and then nobody wants to know.
            let _ = send_with(&self.control, Reply::NotIsolated(number), &[]);
            error
        })
    }

    fn steps(&self) -> Result<(), Failed> {
        let Isolation { means, files, network, .. } = &self.isolation;
        let apart = *network != Network::Full;
        if apart && !means.network {
            return Err((Step::Network, io::ErrorKind::Unsupported.into()));
        }
        if means.view || apart {
            namespaces::enter(*means, apart)?;
        }
        if apart {
            let sockets = network::set_up(*network).map_err(|error| (Step::Network, error))?;
            let count = i32::try_from(sockets.len()).unwrap_or(0);
            send_with(&self.control, Reply::Listening(count), &sockets)
                .map_err(|error| (Step::Network, error))?;
        }
        if means.view {
            view::enter(files, means.hidden_processes)?;
            // The directory entered so far is one of the old view.
            std::env::set_current_dir(&self.cwd).map_err(|error| (Step::View, error))?;
        }
        if means.landlock > 0 {
            access::restrict(*means, files).map_err(|error| (Step::Landlock, error))?;
        }
        if let Some(account) = self.account {
            become_account(account).map_err(|error| (Step::Account, error))?;
        }
        capabilities::give_up().map_err(|error| (Step::Capabilities, error))?;
        for filter in &self.filters {
            calls::apply(filter).map_err(|error| (Step::Seccomp, error))?;
        }
        Ok(())
    }
}
