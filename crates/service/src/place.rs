//! Which service manager, for whom, and where its files are.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// What starts services on this system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// macOS.
    Launchd,
    /// Most Linux distributions.
    Systemd,
}

impl Manager {
    /// The one that belongs to the system this program was built for.
    #[must_use]
    pub const fn of_this_system() -> Self {
        if cfg!(target_os = "macos") { Self::Launchd } else { Self::Systemd }
    }
}

/// Whose service it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// One user's: a LaunchAgent, or a unit of the user's own systemd.
    User,
    /// The machine's, started at boot: a LaunchDaemon, or a unit of the system's systemd.
    System,
}

/// The account that the worker runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its home directory.
    pub home: PathBuf,
}

/// A service manager, a scope and an account: together they say where everything is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The service manager.
    pub manager: Manager,
    /// Whose service it is.
    pub scope: Scope,
    /// Who it runs as.
    pub account: Account,
}

/// The name of the service to launchd.
const LABEL: &str = "metal9.worker";

/// The name of the service to systemd.
const UNIT: &str = "metal9-worker.service";

impl Place {
    /// The service's name to its service manager.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.manager {
            Manager::Launchd => LABEL,
            Manager::Systemd => UNIT,
        }
    }

    /// Where the plist or unit is.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        match (self.manager, self.scope) {
            (Manager::Launchd, Scope::System) => {
                PathBuf::from("/Library/LaunchDaemons").join(format!("{LABEL}.plist"))
            }
            (Manager::Launchd, Scope::User) => {
                self.account.home.join("Library/LaunchAgents").join(format!("{LABEL}.plist"))
            }
            (Manager::Systemd, Scope::System) => PathBuf::from("/etc/systemd/system").join(UNIT),
            (Manager::Systemd, Scope::User) => {
                self.account.home.join(".config/systemd/user").join(UNIT)
            }
        }
    }

    /// launchd's name for where the service lives.
    #[must_use]
    pub fn domain(&self) -> String {
        match self.scope {
            Scope::System => "system".to_owned(),
            Scope::User => format!("gui/{}", self.account.uid),
        }
    }

    /// launchd's whole name for the service.
    #[must_use]
    pub fn target(&self) -> String {
        format!("{}/{LABEL}", self.domain())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.manager, self.scope) {
            (Manager::Launchd, Scope::System) => "LaunchDaemon",
            (Manager::Launchd, Scope::User) => "LaunchAgent",
            (Manager::Systemd, Scope::System) => "systemd system unit",
            (Manager::Systemd, Scope::User) => "systemd user unit",
        })
    }
}
