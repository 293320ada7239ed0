//! Machines and conditions that are not real, for tests.
//!
//! Whatever is read here, the machine is marked as simulated, and a gateway refuses it unless it
//! was told to accept such.

use std::io;
use std::path::Path;

use metal9_types::{Condition, DeviceUse, Machine, Platform, Power, Runtime, Thermal};
use serde::Deserialize;

use super::DevicesError;

/// A machine as a file describes it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Pretence {
    #[serde(flatten)]
    pub(super) machine: Machine,
    /// Other than the real one; nothing runs on such a worker.
    #[serde(default)]
    pub(super) platform: Option<Platform>,
    #[serde(default)]
    pub(super) runtimes: Option<Vec<Runtime>>,
    /// Why jobs see no GPU, as a probe in their sandbox would say it.
    #[serde(default)]
    pub(super) no_gpu: Option<String>,
    /// How long to wait before another look.
    #[serde(default)]
    pub(super) look_again_ms: Option<u64>,
}

impl Pretence {
    /// Reads a JSON file.
    pub(super) fn read(path: &Path) -> Result<Self, DevicesError> {
        let read = || -> io::Result<Self> {
            let mut read: Self = serde_json::from_slice(&std::fs::read(path)?)?;
            read.machine.simulated = true;
            Ok(read)
        };
        read().map_err(|source| DevicesError::Machine { path: path.to_owned(), source })
    }
}

/// What a file says of the condition.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Overlay {
    thermal: Option<Thermal>,
    power: Option<Power>,
    /// How busy its devices are, of those in the order in which they are offered.
    #[serde(default)]
    devices: Vec<DeviceUse>,
}

/// Puts what the file says over what was measured; nothing while there is no such file.
pub(super) fn overlay(path: &Path, condition: &mut Condition) {
    let read = std::fs::read(path);
    let read = read.and_then(|bytes| serde_json::from_slice::<Overlay>(&bytes).map_err(Into::into));
    match read {
        Ok(overlay) => {
            condition.thermal = overlay.thermal.or(condition.thermal);
            condition.power = overlay.power.or(condition.power);
            for (usage, told) in condition.devices.iter_mut().zip(overlay.devices) {
                *usage = told;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::debug!(%error, "the simulated condition cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_read_and_marked() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("machine.json");
        let text =
            r#"{"os": "macOS 26.4", "notes": ["no GPU"], "platform": "aarch64-apple-darwin"}"#;
        std::fs::write(&path, text).unwrap();
        let read = Pretence::read(&path).unwrap();
        assert_eq!(read.machine.notes, ["no GPU"]);
        assert!(read.machine.simulated);
        assert_eq!(read.platform, Some(Platform::Aarch64Darwin));
        std::fs::write(&path, "[]").unwrap();
        assert!(Pretence::read(&path).is_err());
    }

    #[test]
    fn a_condition_is_read_each_time() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("condition.json");
        let mut condition = Condition::default();
        overlay(&path, &mut condition);
        assert_eq!(condition, Condition::default());
        std::fs::write(&path, r#"{"thermal": "heavy", "power": "battery"}"#).unwrap();
        overlay(&path, &mut condition);
        assert_eq!(
            (condition.thermal, condition.power),
            (Some(Thermal::Heavy), Some(Power::Battery))
        );
        let told = DeviceUse { busy_percent: Some(42), memory_used_mib: Some(3072) };
        condition.devices = vec![DeviceUse::default(); 2];
        let text = r#"{"devices": [{"busy_percent": 42, "memory_used_mib": 3072}]}"#;
        std::fs::write(&path, text).unwrap();
        overlay(&path, &mut condition);
        assert_eq!(condition.devices, [told, DeviceUse::default()]);
        assert_eq!(condition.thermal, Some(Thermal::Heavy), "the last that was told");
    }
}
