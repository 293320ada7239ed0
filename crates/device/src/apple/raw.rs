//! What a Mac tells of itself, unjudged.

use std::collections::BTreeMap;

/// A value of a property list, as far as it matters here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    Number(i64),
    Text(String),
    Map(BTreeMap<String, Value>),
}

/// An accelerator in the I/O registry.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Accelerator {
    /// The registry's id of the entry; 0 if unknown.
    pub(crate) id: u64,
    /// The class of the driver, as `AGXAcceleratorG16G`.
    pub(crate) class: String,
    /// The properties that were asked for.
    pub(crate) properties: BTreeMap<String, Value>,
}

impl Accelerator {
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.properties.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        number(&self.properties, name)
    }

    /// `true` for the GPU of Apple silicon.
    pub(crate) fn is_apple_gpu(&self) -> bool {
        self.class.starts_with("AGXAccelerator")
    }
}

pub(super) fn number(map: &BTreeMap<String, Value>, name: &str) -> Option<i64> {
    match map.get(name)? {
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// The properties of an accelerator that say what it is.
pub(crate) const IDENTITY: [&str; 2] = ["model", "gpu-core-count"];

/// The property of an accelerator that says how it is doing.
pub(crate) const STATISTICS: &str = "PerformanceStatistics";

/// The values of sysctl that are text.
pub(crate) const TEXTS: [&str; 3] =
    ["machdep.cpu.brand_string", "hw.model", "kern.osproductversion"];

/// The values of sysctl that are numbers.
pub(crate) const NUMBERS: [&str; 4] =
    ["hw.memsize", "kern.hv_vmm_present", "sysctl.proc_translated", "iogpu.wired_limit_mb"];

/// What was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Raw {
    /// Values of sysctl by name; what the system does not know is not there.
    pub(crate) sysctl: BTreeMap<String, Value>,
    /// The accelerators in the I/O registry.
    pub(crate) accelerators: Vec<Accelerator>,
    /// What `system_profiler -json SPDisplaysDataType` printed, where it had to be asked.
    pub(crate) displays: Option<String>,
}

impl Raw {
    pub(super) fn text(&self, name: &str) -> &str {
        match self.sysctl.get(name) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    pub(super) fn number(&self, name: &str) -> i64 {
        number(&self.sysctl, name).unwrap_or(0)
    }

    /// `true` in a virtual machine.
    pub(super) fn is_virtual(&self) -> bool {
        self.number("kern.hv_vmm_present") == 1
            || self.text("machdep.cpu.brand_string").ends_with("(Virtual)")
    }

    /// `true` if the registry has not told what it should have.
    pub(crate) fn lacks_accelerators(&self) -> bool {
        let knows_one =
            |gpu: &Accelerator| gpu.is_apple_gpu() && gpu.number("gpu-core-count") > Some(0);
        self.text("machdep.cpu.brand_string").starts_with("Apple ")
            && !self.is_virtual()
            && !self.accelerators.iter().any(knows_one)
    }
}
