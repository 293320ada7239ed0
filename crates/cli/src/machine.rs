//! What machine this is, for reports.

use metal9_device::{Gauge, discover_with, probe};
use metal9_types::Thermal;
use serde::Serialize;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

/// A machine, in the words of its system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    /// The version of this program.
    pub(crate) metal9: String,
    /// The system and its version.
    pub(crate) system: String,
    /// The kernel's version.
    pub(crate) kernel: String,
    /// What the processor calls itself.
    pub(crate) processor: String,
    /// How the program was built.
    pub(crate) architecture: String,
    /// Its cores.
    pub(crate) cores: usize,
    /// Its memory, in MiB.
    pub(crate) memory_mib: u64,
    /// The maker's name for the model; empty if unknown.
    pub(crate) model: String,
    /// The GPUs that jobs can use.
    pub(crate) gpus: Vec<String>,
    /// Why one might expect another.
    pub(crate) notes: Vec<String>,
    /// How hot it is, where known.
    pub(crate) thermal: Option<Thermal>,
}

impl Machine {
    /// Asks the system.
    pub(crate) fn look() -> Self {
        let what = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        let inventory = discover_with(probe::run_this_program);
        let system = System::new_with_specifics(what).ok();
        let first = system.as_ref().and_then(|system| system.cpus().first());
        let profile = if cfg!(debug_assertions) { " (debug build)" } else { "" };
        Self {
            metal9: format!("{}{profile}", env!("CARGO_PKG_VERSION")),
            system: System::long_os_version().unwrap_or_else(|_| std::env::consts::OS.to_owned()),
            kernel: System::kernel_version().unwrap_or_default(),
            processor: first.map(|cpu| cpu.brand().trim().to_owned()).unwrap_or_default(),
            architecture: std::env::consts::ARCH.to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: system.map_or(0, |system| system.total_memory() / (1024 * 1024)),
            gpus: inventory.devices.iter().map(|device| device.name()).collect(),
            thermal: Gauge::new(&inventory).look().thermal,
            model: inventory.machine.model,
            notes: inventory.machine.notes,
        }
    }

    /// Some lines for people.
    pub(crate) fn describe(&self) -> String {
        let Self { metal9, system, kernel, processor, architecture, cores, memory_mib, .. } = self;
        let mut text = format!(
            "metal9 {metal9}\n{system}, kernel {kernel}\n{processor} ({architecture}), {cores} \
             cores, {memory_mib} MiB\n"
        );
        if !self.model.is_empty() {
            text += &format!("{}\n", self.model);
        }
        let gpus = if self.gpus.is_empty() { "none".to_owned() } else { self.gpus.join(", ") };
        text += &format!("GPU for jobs: {gpus}\n");
        self.notes.iter().fold(text, |text, note| text + "note: " + note + "\n")
    }
}
