//! Devices that only pretend to be there, for tests and trying things out.

mod apple;
mod nvidia;

use metal9_types::{Device, GpuSelector, gpu_names};
use serde::Serialize;

/// A device that is not there, and what it is made from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Simulated {
    /// The device, marked as simulated.
    pub device: Device,
    /// Apple: the memory of the whole machine, in MiB. NVIDIA: the device's own.
    pub total_memory_mib: u64,
    /// Apple: the memory that Metal would recommend to use, in MiB. NVIDIA: all of it.
    pub recommended_working_set_mib: u64,
    /// Where the figures are from.
    pub basis: &'static str,
}

/// A name that no device to simulate has.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{name}` is no device that can be simulated")]
pub struct UnknownDevice {
    /// The name.
    pub name: String,
    /// The most similar name that would do.
    pub nearest: Option<&'static str>,
}

impl UnknownDevice {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self.nearest {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => {
                "name a chip of Apple's as `M3 Max`, or a model of NVIDIA's as `H100`".to_owned()
            }
        }
    }
}

/// Makes a device of that name. Spelling does not matter: `M3-Max`, `m3max` and `M3 Max` are one.
///
/// # Errors
///
/// If no such device is known, with the most similar name that is.
pub fn simulate(name: &str) -> Result<Simulated, UnknownDevice> {
    let wanted = GpuSelector::parse(name);
    let found =
        apple::all().chain(nvidia::all()).find(|(name, _)| GpuSelector::parse(name) == wanted);
    match found {
        Some((_, mut simulated)) => {
            simulated.device.simulated = true;
            Ok(simulated)
        }
        None => Err(UnknownDevice {
            name: name.to_owned(),
            nearest: gpu_names::nearest(
                name,
                apple::all().chain(nvidia::all()).map(|(name, _)| name),
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_does_not_matter() {
        for name in ["M3-Max", "m3max", "M3 Max", "m3_MAX"] {
            let device = simulate(name).unwrap().device;
            assert_eq!(device.name(), "M3 Max (simulated)");
            assert_eq!(device.cores, 40);
        }
    }

    #[test]
    fn every_simulated_device_answers_to_its_name_and_has_a_size() {
        for (name, _) in apple::all().chain(nvidia::all()) {
            let made = simulate(name).unwrap();
            assert!(GpuSelector::parse(name).unwrap().matches(&made.device), "{name}");
            assert!(made.device.simulated && made.device.cores > 0, "{name}");
            assert!(made.device.memory_mib == made.recommended_working_set_mib, "{name}");
            assert!(
                (1..=made.total_memory_mib).contains(&made.recommended_working_set_mib),
                "{name}"
            );
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> =
            apple::all().chain(nvidia::all()).map(|(name, _)| GpuSelector::parse(name)).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn the_models_asked_for_most_are_there() {
        for name in ["T4", "L4", "A10G", "A100", "A100-80", "H100", "RTX4090", "M1", "M5 Max"] {
            assert!(simulate(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_gets_a_similar_one() {
        let error = simulate("M3-Maxx").unwrap_err();
        assert_eq!(error.to_string(), "`M3-Maxx` is no device that can be simulated");
        assert_eq!(error.hint(), "did you mean `M3 Max`?");
        // Apple has made no such chip.
        assert!(simulate("M4 Ultra").is_err());
        for name in ["", "0", "any", "MPS"] {
            assert!(simulate(name).is_err(), "{name}");
        }
        assert!(simulate("zzzzzzzzzz").unwrap_err().hint().starts_with("name a chip"));
    }
}
