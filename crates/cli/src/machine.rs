//! What machine this is, for reports.

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
}

impl Machine {
    /// Asks the system.
    pub(crate) fn look() -> Self {
        let what = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
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
        }
    }

    /// Three lines for people.
    pub(crate) fn describe(&self) -> String {
        let Self { metal9, system, kernel, processor, architecture, cores, memory_mib } = self;
        format!(
            "metal9 {metal9}\n{system}, kernel {kernel}\n{processor} ({architecture}), {cores} \
             cores, {memory_mib} MiB\n"
        )
    }
}
