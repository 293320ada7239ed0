//! The machine and its accelerators: what is there, how it is doing, what a job is told of it.

mod again;
mod simulated;

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use metal9_device::{Inventory, UnknownDevice, probe};
use metal9_types::{Condition, Device, Machine, Platform, Runtime, Vendor};
use serde_json::json;

use crate::options::Options;
use crate::runner::{Gpus, Guard};
pub(crate) use again::keep_looking;
use simulated::Pretence;

/// Why the worker cannot say what it has.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevicesError {
    /// A device that was to be simulated is none.
    #[error("a device cannot be simulated")]
    Unknown(#[from] UnknownDevice),
    /// The file that describes a simulated machine cannot be used.
    #[error("the simulated machine of `{}` cannot be used", path.display())]
    Machine {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: std::io::Error,
    },
}

impl DevicesError {
    /// What the person can do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown(unknown) => Some(unknown.hint()),
            Self::Machine { .. } => None,
        }
    }
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) machine: Machine,
    pub(crate) equipment: Equipment,
    pub(crate) gauge: Gauge,
    /// What it pretends to be.
    pub(crate) platform: Option<Platform>,
    pub(crate) runtimes: Option<Vec<Runtime>>,
    /// A GPU is not offered that may work later.
    pub(crate) withheld: bool,
    /// How long to wait before another look for it, if not as long as usual.
    pub(crate) look_again: Option<Duration>,
}

/// The accelerators that jobs are given from now on.
#[derive(Debug, Default)]
pub(crate) struct Outfit(RwLock<Arc<Equipment>>);

impl Outfit {
    pub(crate) fn new(equipment: Equipment) -> Self {
        Self(RwLock::new(Arc::new(equipment)))
    }

    /// What there is now.
    pub(crate) fn now(&self) -> Arc<Equipment> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, equipment: Equipment) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(equipment);
    }
}

/// The accelerators, as jobs are given them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Equipment {
    pub(crate) devices: Vec<Device>,
    /// What CUDA calls each of them.
    cuda: Vec<Option<String>>,
}

/// A GPU of NVIDIA's that a job was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NvidiaGpu {
    /// What CUDA calls it.
    pub(crate) name: String,
    /// Whether it only pretends to be there.
    pub(crate) simulated: bool,
}

/// Looks at the machine beside other work, as its jobs are isolated; nothing if the worker is ending.
/// See [`find`].
pub(crate) async fn look(
    options: &Options,
    unseen: Option<String>,
    guard: &Guard,
) -> Option<Result<Found, DevicesError>> {
    let (looking, wanted) = (Instant::now(), options.clone());
    let gpus = guard.gpus().cloned();
    let find = move || find(&wanted, unseen, gpus.as_ref());
    let mut found = tokio::task::spawn_blocking(find).await.ok()?;
    if let Ok(Found { machine, .. }) = &mut found {
        machine.notes.extend_from_slice(guard.notes());
        tracing::debug!(took = ?looking.elapsed(), ?machine, "looked at the machine");
    }
    Some(found)
}

/// Looks at the machine. Starts a process on a Mac, to ask Metal. `unseen` is why jobs see no GPU
/// there, if they see none: then it is not offered. `gpus` is how containers get those of NVIDIA's, for a
/// worker that makes such: one that they cannot get is not offered either.
///
/// # Errors
///
/// If something is to be simulated that cannot be.
fn find(
    options: &Options,
    unseen: Option<String>,
    gpus: Option<&Gpus>,
) -> Result<Found, DevicesError> {
    let pretence = options.simulate_machine.as_deref().map(Pretence::read).transpose()?;
    let mut inventory = match &pretence {
        Some(_) => Inventory::default(),
        None => metal9_device::discover_with(|| {
            let mut command = Command::new(&options.shim);
            command.arg(probe::COMMAND);
            probe::run(command)
        }),
    };
    if let Some(gpus) = gpus {
        inventory.withhold(|name| gpus.why_not(name));
    }
    for name in &options.simulate_devices {
        inventory.simulate(&metal9_device::simulate(name)?);
    }
    let pretence = pretence.unwrap_or_default();
    if pretence.machine.simulated {
        inventory.machine = pretence.machine;
    }
    if let Some(reason) = pretence.no_gpu.or(unseen) {
        inventory.withdraw(&reason);
    }
    let mut machine = inventory.machine.clone();
    machine.simulated |= options.simulate_condition.is_some();
    let gauge = Gauge {
        real: metal9_device::Gauge::new(&inventory),
        simulated: options.simulate_condition.clone(),
    };
    let equipment = Equipment::of(&inventory, options.gpu_slots);
    let look_again = pretence.look_again_ms.map(Duration::from_millis);
    let (platform, runtimes) = (pretence.platform, pretence.runtimes);
    let withheld = inventory.withheld;
    Ok(Found { machine, equipment, gauge, platform, runtimes, withheld, look_again })
}

impl Equipment {
    fn of(inventory: &Inventory, slots: u32) -> Self {
        let mut devices = inventory.devices.clone();
        let mut nvidia = 0;
        let mut cuda = Vec::new();
        for (place, device) in devices.iter_mut().enumerate() {
            device.slots = slots.max(1);
            let is_nvidia = device.vendor == Vendor::Nvidia;
            // A simulated one is called by its number; CUDA will not find it.
            let name = inventory.cuda_name(place).map_or_else(|| nvidia.to_string(), str::to_owned);
            cuda.push(is_nvidia.then_some(name));
            nvidia += u32::from(is_nvidia);
        }
        Self { devices, cuda }
    }

    /// Whether the real GPU of a Mac is among these.
    pub(crate) fn has_mac_gpu(&self, given: &[usize]) -> bool {
        self.given(given).any(|device| device.vendor == Vendor::Apple && !device.simulated)
    }

    /// Those of NVIDIA's at these places.
    pub(crate) fn nvidia(&self, places: &[usize]) -> Vec<NvidiaGpu> {
        let named = places.iter().filter_map(|&place| {
            let name = self.cuda.get(place)?.clone()?;
            Some(NvidiaGpu { name, simulated: self.devices.get(place)?.simulated })
        });
        named.collect()
    }

    /// The devices at these places.
    pub(crate) fn given(&self, places: &[usize]) -> impl Iterator<Item = &Device> {
        places.iter().filter_map(|&place| self.devices.get(place))
    }

    /// The variables that tell a job which of the devices are its own. CUDA shows it no others.
    pub(crate) fn variables(&self, given: &[usize]) -> Vec<(&'static str, String)> {
        let devices: Vec<_> = self
            .given(given)
            .map(|device| {
                json!({
                    "name": device.name(),
                    "vendor": device.vendor,
                    "family": device.family,
                    "variant": device.variant,
                    "cores": device.cores,
                    "memory_mib": device.memory_mib,
                    "simulated": device.simulated,
                })
            })
            .collect();
        let mut variables = vec![("METAL9_DEVICES", json!(devices).to_string())];
        if self.cuda.iter().any(Option::is_some) {
            let own = given.iter().filter_map(|&place| self.cuda.get(place)?.as_deref());
            variables.push(("CUDA_VISIBLE_DEVICES", own.collect::<Vec<_>>().join(",")));
        }
        variables
    }
}

/// Measures how the machine is doing.
#[derive(Debug)]
pub(crate) struct Gauge {
    real: metal9_device::Gauge,
    /// A file that says something else, for tests.
    simulated: Option<PathBuf>,
}

impl Gauge {
    /// One that knows of no devices.
    #[cfg(test)]
    pub(crate) fn without_devices() -> Self {
        Self { real: metal9_device::Gauge::new(&Inventory::default()), simulated: None }
    }

    /// How things are now.
    pub(crate) fn look(&mut self) -> Condition {
        let mut condition = self.real.look();
        if let Some(path) = &self.simulated {
            simulated::overlay(path, &mut condition);
        }
        condition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equipment(names: &[&str]) -> Equipment {
        let mut inventory = Inventory::default();
        for name in names {
            inventory.simulate(&metal9_device::simulate(name).unwrap());
        }
        Equipment::of(&inventory, 2)
    }

    #[test]
    fn a_job_is_told_what_it_was_given_and_that_it_is_simulated() {
        let variables = equipment(&["M3 Max", "M1"]).variables(&[0]);
        let [(name, value)] = variables.as_slice() else { panic!("{variables:?}") };
        assert_eq!(*name, "METAL9_DEVICES");
        let told: serde_json::Value = serde_json::from_str(value).unwrap();
        assert_eq!(told.as_array().unwrap().len(), 1);
        assert_eq!(told[0]["name"], "M3 Max (simulated)");
        assert_eq!((&told[0]["vendor"], &told[0]["simulated"]), (&json!("apple"), &json!(true)));
    }

    #[test]
    fn a_simulated_gpu_is_none_that_a_sandbox_could_open() {
        let mut equipment = equipment(&["M3 Max", "H100"]);
        assert!(!equipment.has_mac_gpu(&[0, 1]));
        equipment.devices[0].simulated = false;
        assert!(equipment.has_mac_gpu(&[1, 0]));
        assert!(!equipment.has_mac_gpu(&[1]) && !equipment.has_mac_gpu(&[7]));
    }

    #[test]
    fn cuda_shows_a_job_its_own_devices_only() {
        let equipment = equipment(&["M1", "H100", "T4"]);
        let cuda = |given: &[usize]| equipment.variables(given)[1].clone();
        assert_eq!(cuda(&[2]), ("CUDA_VISIBLE_DEVICES", "1".to_owned()));
        assert_eq!(cuda(&[1, 2]), ("CUDA_VISIBLE_DEVICES", "0,1".to_owned()));
        assert_eq!(cuda(&[]), ("CUDA_VISIBLE_DEVICES", String::new()));
    }

    #[test]
    fn a_container_is_told_to_have_the_gpus_of_nvidia_that_it_was_given() {
        let equipment = equipment(&["M1", "H100", "T4"]);
        let wanted = |name: &str| NvidiaGpu { name: name.to_owned(), simulated: true };
        assert_eq!(equipment.nvidia(&[2, 1]), [wanted("1"), wanted("0")]);
        assert_eq!(equipment.nvidia(&[0, 7]), []);
    }

    #[test]
    fn the_setting_opens_every_device() {
        assert!(equipment(&["M1", "H100"]).devices.iter().all(|device| device.slots == 2));
    }
}
