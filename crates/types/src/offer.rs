//! What a worker offers.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Device, Machine, OnBattery, Platform, Resources, RootSource};

/// How a container is isolated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// A process of the host, inside the host's own sandbox.
    Native,
    /// An OCI container run by runc.
    Runc,
    /// An OCI container run by gVisor.
    Runsc,
}

impl Runtime {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Native, Self::Runc, Self::Runsc];

    /// The runtime of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|runtime| runtime.as_str() == name)
    }

    /// All names, for messages.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }

    /// Whether it makes containers, of images and with files of their own.
    #[must_use]
    pub fn is_container(self) -> bool {
        self != Self::Native
    }

    /// The runtime's name in configuration and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Runc => "runc",
            Self::Runsc => "runsc",
        }
    }
}

impl FromStr for Runtime {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::named(name).ok_or_else(|| format!("`{name}` is not one of {}", Self::names()))
    }
}

/// What a worker says of itself when it connects.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// The machine's name, for people.
    pub hostname: String,
    /// The pool it belongs to.
    pub pool: String,
    /// Operating system and processor.
    pub platform: Platform,
    /// All it gives to jobs.
    pub capacity: Resources,
    /// What the machine says of itself.
    pub machine: Machine,
    /// Accelerators.
    pub devices: Vec<Device>,
    /// What it does while it runs on a battery.
    pub on_battery: OnBattery,
    /// Ways it can isolate a container.
    pub runtimes: Vec<Runtime>,
    /// Which root filesystems its containers can have.
    pub root: RootSource,
    /// Whether it can hold a job to a list of networks.
    pub allow_lists: bool,
    /// Python versions it can make environments for, as `3.11`.
    pub pythons: Vec<String>,
    /// Free-form labels.
    pub labels: BTreeMap<String, String>,
    /// The version of metal9 it runs.
    pub version: String,
}
