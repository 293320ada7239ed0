//! What this machine has and how busy it is.

use std::thread;

use metal9_types::Resources;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use crate::options::Options;

const MIB: u64 = 1024 * 1024;

/// The machine's name.
pub(crate) fn hostname() -> String {
    System::host_name().unwrap_or_else(|_| "unknown".to_owned())
}

/// What jobs may use: what the options say, else all cores and nine tenths of the memory.
pub(crate) fn capacity(options: &Options) -> Resources {
    let cores = options
        .cpu
        .filter(|cores| cores.is_finite() && *cores > 0.0)
        .unwrap_or_else(|| thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64));
    let memory_mib = options.memory_mib.unwrap_or_else(|| total_memory_mib() / 10 * 9);
    Resources { cpu_millicores: (cores * 1000.0).round() as u64, memory_mib }
}

/// The machine's memory, or the daemon's own limit where that is less.
fn total_memory_mib() -> u64 {
    let Ok(system) = System::new_with_specifics(
        RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram()),
    ) else {
        return 1024;
    };
    let total = system.total_memory();
    let limit = system.cgroup_limits().map_or(total, |limits| limits.total_memory);
    (if limit == 0 { total } else { total.min(limit) }) / MIB
}

/// How busy the machine is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) memory_used_mib: u64,
    pub(crate) cpu_percent: f32,
}

/// Measures the machine; processor use is counted from one look to the next.
#[derive(Debug)]
pub(crate) struct Gauge(Option<System>);

impl Gauge {
    pub(crate) fn new() -> Self {
        Self(System::new().ok())
    }

    pub(crate) fn look(&mut self) -> Usage {
        let Some(system) = &mut self.0 else { return Usage::default() };
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        system.refresh_cpu_specifics(CpuRefreshKind::nothing().with_usage());
        Usage {
            memory_used_mib: system.used_memory() / MIB,
            cpu_percent: system.global_cpu_usage(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use metal9_sandbox::Network;
    use metal9_types::OnBattery;

    use super::*;
    use crate::options::Wish;

    fn options(cpu: Option<f64>, memory_mib: Option<u64>) -> Options {
        Options {
            state_dir: "/tmp/x".into(),
            gateway: String::new(),
            pool: String::new(),
            cpu,
            memory_mib,
            cache_mib: 0,
            cache_check: crate::CACHE_CHECK,
            uv: None,
            python: None,
            gpu_slots: 1,
            on_battery: OnBattery::Run,
            simulate_devices: Vec::new(),
            simulate_machine: None,
            simulate_condition: None,
            images: crate::options::ImageSettings::default(),
            labels: BTreeMap::new(),
            credential_age: None,
            cgroups: false,
            pids: None,
            cpu_limit_percent: None,
            runtime: metal9_types::Runtime::Native,
            isolation: Wish::Off,
            network: Network::Full,
            job_user: None,
            readable: Vec::new(),
            writable: Vec::new(),
            hidden: Vec::new(),
            cdi_dirs: Vec::new(),
            copy_volumes: false,
            juicefs: metal9_juicefs::Settings::default(),
            keep_awake: false,
            drain: std::time::Duration::ZERO,
            shim: "/bin/false".into(),
        }
    }

    #[test]
    fn the_options_decide_what_jobs_get() {
        let capacity = capacity(&options(Some(1.5), Some(512)));
        assert_eq!(capacity, Resources { cpu_millicores: 1500, memory_mib: 512 });
    }

    #[test]
    fn without_options_jobs_get_most_of_the_machine() {
        let found = capacity(&options(Some(f64::NAN), None));
        assert!(found.cpu_millicores >= 1000);
        assert!(found.memory_mib > 0 && found.memory_mib < total_memory_mib());
    }
}
