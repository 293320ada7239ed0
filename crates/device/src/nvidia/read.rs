//! Reading NVML, which is loaded while the program runs.

use metal9_types::DeviceUse;
use nvml_wrapper::enum_wrappers::device::{EccCounter, MemoryError};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::inventory::{Gpu, Raw};
use crate::inventory::mib;

/// NVML, where there is one.
#[derive(Debug)]
pub(crate) struct Reader(Result<Nvml, Option<String>>);

impl Reader {
    pub(crate) fn open() -> Self {
        Self(Nvml::init().map_err(|error| trouble(&error)))
    }

    /// Asks for everything that does not change.
    pub(crate) fn read(&self) -> Raw {
        let nvml = match &self.0 {
            Ok(nvml) => nvml,
            Err(trouble) => return Raw { trouble: trouble.clone(), ..Raw::default() },
        };
        match nvml.device_count() {
            Ok(count) => {
                Raw { gpus: (0..count).map(|index| at(nvml, index)).collect(), trouble: None }
            }
            Err(error) => Raw { trouble: Some(error.to_string()), ..Raw::default() },
        }
    }

    /// How busy a device is; nothing is known of one that is lost.
    pub(crate) fn usage(&self, uuid: &str) -> DeviceUse {
        let Some(device) = self.0.as_ref().ok().and_then(|nvml| nvml.device_by_uuid(uuid).ok())
        else {
            return DeviceUse::default();
        };
        let busy = device.utilization_rates().ok();
        DeviceUse {
            busy_percent: busy.and_then(|rates| u8::try_from(rates.gpu.min(100)).ok()),
            memory_used_mib: device.memory_info().ok().map(|memory| mib(memory.used)),
        }
    }
}

/// What is worth telling of a library that did not start: not that there is no driver.
fn trouble(error: &NvmlError) -> Option<String> {
    let is_absence = matches!(
        error,
        NvmlError::LibloadingError(_)
            | NvmlError::LibraryNotFound
            | NvmlError::DriverNotLoaded
            | NvmlError::NotFound
    );
    (!is_absence).then(|| error.to_string())
}

fn at(nvml: &Nvml, index: u32) -> Gpu {
    let whole = nvml.device_by_index(index).and_then(|device| {
        let name = device.name()?;
        let uuid = device.uuid()?;
        Ok(Gpu { uuid, name, memory_bytes: memory(&device)?, ..health(&device) })
    });
    whole.unwrap_or_else(|error| Gpu { trouble: Some(error.to_string()), ..Gpu::default() })
}

/// Bytes of the device's own memory; 0 if it has none.
fn memory(device: &Device<'_>) -> Result<u64, NvmlError> {
    match device.memory_info() {
        Ok(memory) => Ok(memory.total),
        Err(NvmlError::NotSupported) => Ok(0),
        Err(error) => Err(error),
    }
}

/// What only some devices can tell.
fn health(device: &Device<'_>) -> Gpu {
    let errors = device.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile);
    Gpu {
        cores: device.num_cores().unwrap_or(0),
        uncorrected_errors: errors.unwrap_or(0),
        needs_reset: device.are_pages_pending_retired().unwrap_or(false),
        // 1 is NVML's "enabled".
        is_divided: device.mig_mode().is_ok_and(|mode| mode.current == 1),
        ..Gpu::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_driver_is_silence_and_a_broken_one_is_not() {
        assert_eq!(trouble(&NvmlError::DriverNotLoaded), None);
        assert_eq!(trouble(&NvmlError::LibraryNotFound), None);
        assert!(trouble(&NvmlError::LibRmVersionMismatch).is_some());
        assert!(trouble(&NvmlError::NoPermission).is_some());
    }
}
