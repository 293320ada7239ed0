//! What a machine says of itself beside its size, and how it is doing.

use serde::{Deserialize, Serialize};

/// What a machine is, for people and for explanations.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// The system and its version, as `macOS 26.4`; empty if unknown.
    pub os: String,
    /// The maker's name for the model, as `Mac16,11`; empty if unknown.
    pub model: String,
    /// The processor, as `Apple M4 Pro`; empty if unknown.
    pub chip: String,
    /// `true` if it is a virtual machine.
    pub is_virtual: bool,
    /// `true` for a Linux guest on a Mac: there is a GPU close by that nothing here can reach.
    pub is_guest_on_mac: bool,
    /// Sentences that say why something one might expect is not there, as a GPU that is none.
    pub notes: Vec<String>,
}

/// How hot a machine is, as macOS grades it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thermal {
    /// Nothing is held back.
    Nominal,
    /// Fans are up; background work is held back.
    Moderate,
    /// Everything is slowed down.
    Heavy,
    /// About to stop everything.
    Trapping,
    /// So hot that the machine sleeps.
    Sleeping,
}

/// What a machine runs on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// The mains.
    Ac,
    /// A battery.
    Battery,
}

/// How busy an accelerator is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct DeviceUse {
    /// Percent of the time in which it did something, where known.
    pub busy_percent: Option<u8>,
    /// MiB of its memory in use by everybody, where known.
    pub memory_used_mib: Option<u64>,
}

/// How a machine is doing.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Condition {
    /// How hot it is, where known.
    pub thermal: Option<Thermal>,
    /// What it runs on, where known.
    pub power: Option<Power>,
    /// Its accelerators, in the order in which it offers them.
    pub devices: Vec<DeviceUse>,
}
