//! Reading from the running macOS: sysctl, the I/O registry, notify(3) and the power sources.

mod calls;

use std::process::Command;
use std::time::Duration;

use metal9_types::{DeviceUse, Power, Thermal};

use self::calls::{Entry, ThermalPressure};
use super::raw::{Accelerator, IDENTITY, NUMBERS, STATISTICS, TEXTS};
use super::{Raw, Value, condition, inventory};
use crate::Inventory;
use crate::inventory::Source;
use crate::process::output_within;

/// How long `system_profiler` may take; it takes up to a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// Finds out what this Mac is.
pub(crate) fn discover() -> Inventory {
    let mut raw = read();
    if raw.lacks_accelerators() {
        raw.displays = displays();
    }
    inventory(&raw)
}

/// macOS' own name for the time since the machine was started.
pub(crate) fn boot_session() -> Option<String> {
    calls::text("kern.bootsessionuuid")
}

fn read() -> Raw {
    let texts = TEXTS.into_iter().filter_map(|name| Some((name, Value::Text(calls::text(name)?))));
    let numbers =
        NUMBERS.into_iter().filter_map(|name| Some((name, Value::Number(calls::number(name)?))));
    Raw {
        sysctl: texts.chain(numbers).map(|(name, value)| (name.to_owned(), value)).collect(),
        accelerators: calls::accelerators().iter().map(accelerator).collect(),
        displays: None,
    }
}

fn accelerator(entry: &Entry) -> Accelerator {
    let property = |name: &str| Some((name.to_owned(), entry.property(name)?));
    Accelerator {
        id: entry.id(),
        class: entry.class(),
        properties: IDENTITY.into_iter().filter_map(property).collect(),
    }
}

/// What `system_profiler` says; nothing if it does not answer.
fn displays() -> Option<String> {
    let mut command = Command::new("/usr/sbin/system_profiler");
    command.args(["-json", "SPDisplaysDataType"]);
    let output = output_within(command, PATIENCE).ok()??;
    String::from_utf8(output.stdout).ok()
}

/// What a gauge keeps open.
#[derive(Debug)]
pub(crate) struct System {
    thermal: Option<ThermalPressure>,
    gpus: Vec<(u64, Entry)>,
}

impl System {
    pub(crate) fn open(sources: &[Source]) -> Self {
        let mut entries: Vec<(u64, Entry)> =
            calls::accelerators().into_iter().map(|entry| (entry.id(), entry)).collect();
        entries.retain(|(id, _)| sources.contains(&Source::Registry(*id)));
        Self { thermal: ThermalPressure::open(), gpus: entries }
    }

    pub(crate) fn thermal(&self) -> Option<Thermal> {
        condition::thermal(self.thermal.as_ref()?.level()?)
    }

    pub(crate) fn power(&self) -> Option<Power> {
        condition::power(&calls::power_source()?)
    }

    pub(crate) fn device(&self, source: &Source) -> DeviceUse {
        let Source::Registry(wanted) = source else { return DeviceUse::default() };
        let entry = self.gpus.iter().find(|(id, _)| id == wanted);
        let statistics = entry.and_then(|(_, entry)| entry.property(STATISTICS));
        statistics.map_or_else(DeviceUse::default, |statistics| condition::usage(&statistics))
    }
}
