//! What keeps a job to itself: descriptions, made by pure functions; [`crate::spawn`] enforces them.

mod files;
mod means;
mod probe;
mod syscalls;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use files::{
    Access, Entry, FileRule, JobPaths, Machine, RealMachine, VolumePaths, among_programs,
    file_rules,
};
pub(crate) use files::{at, interpreter};
pub use means::{Means, Step};
pub use probe::{Refused, Sought, probe, probe_kinds};
#[cfg(target_os = "linux")]
pub(crate) use syscalls::number;
pub(crate) use syscalls::{Denial, Errno, Test, denied};

/// How one job is isolated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// What this machine can enforce, as [`probe`] found out.
    pub means: Means,
    /// What of the file system the job may use, as [`file_rules`] gives it: nothing else.
    pub files: Vec<FileRule>,
    /// What the job may connect to.
    pub network: Network,
    /// Whether it uses the GPU of a Mac, which nothing else reaches.
    pub gpu: bool,
}

/// What a job may connect to, from the least to the most strict.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Whatever the machine can.
    #[default]
    Full,
    /// A loopback interface of its own, on which the worker relays to the gateway.
    GatewayOnly,
    /// A loopback interface of its own.
    None,
}

impl Network {
    /// The name in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::GatewayOnly => "gateway-only",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Full, Self::GatewayOnly, Self::None]
            .into_iter()
            .find(|network| network.as_str() == text)
            .ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_keep_their_names_and_are_in_order_of_strictness() {
        for network in [Network::Full, Network::GatewayOnly, Network::None] {
            assert_eq!(network.as_str().parse(), Ok(network));
        }
        assert!("open".parse::<Network>().is_err());
        assert_eq!(Network::Full.max(Network::GatewayOnly), Network::GatewayOnly);
        assert_eq!(Network::GatewayOnly.max(Network::None), Network::None);
    }
}
