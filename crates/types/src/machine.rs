//! What a machine says of itself beside its size, and how it is doing.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a machine is, for people and for explanations.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
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
    /// `true` for one that only pretends to be what it says, for tests and trying things out.
    pub simulated: bool,
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

impl Thermal {
    /// Its name in messages and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nominal => "nominal",
            Self::Moderate => "moderate",
            Self::Heavy => "heavy",
            Self::Trapping => "trapping",
            Self::Sleeping => "sleeping",
        }
    }
}

impl FromStr for Thermal {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Self::Nominal, Self::Moderate, Self::Heavy, Self::Trapping, Self::Sleeping]
            .into_iter()
            .find(|level| level.as_str() == name)
            .ok_or_else(|| format!("`{name}` is not a thermal pressure"))
    }
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

impl Power {
    /// Its name in messages and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ac => "ac",
            Self::Battery => "battery",
        }
    }
}

impl FromStr for Power {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Self::Ac, Self::Battery]
            .into_iter()
            .find(|source| source.as_str() == name)
            .ok_or_else(|| format!("`{name}` is not a source of power"))
    }
}

/// What a worker does while its machine runs on a battery.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBattery {
    /// All that it does otherwise.
    #[default]
    Run,
    /// It begins nothing that uses an accelerator.
    NoGpu,
    /// It begins nothing.
    Rest,
}

impl OnBattery {
    /// Its name in settings and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::NoGpu => "no-gpu",
            Self::Rest => "rest",
        }
    }
}

impl FromStr for OnBattery {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Self::Run, Self::NoGpu, Self::Rest]
            .into_iter()
            .find(|choice| choice.as_str() == name)
            .ok_or_else(|| format!("`{name}` is not run, no-gpu or rest"))
    }
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
