//! What a workspace has of the fleet.

use std::collections::BTreeSet;
use std::time::Duration;

use metal9_types::Resources;

use super::Place;
use crate::{StubSpec, WorkspaceRules};

/// What one GPU costs, in millicores: it keeps about as much of a machine from others.
const GPU_COST: u64 = 8000;
/// MiB of memory that cost as much as one millicore.
const MEMORY_PER_MILLICORE: u64 = 4;

/// The time by which a call is charged before one has ended.
const FIRST_CALL: Duration = Duration::from_secs(1);
/// Calls are charged for at least and at most this.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(60);

/// What a workspace of weight 1 may use in one turn: one core for a second.
pub(crate) const QUANTUM: i64 = 1_000_000;
/// Turns a workspace can be in debt; what it used beyond that, while nobody else wanted it, is
/// forgotten.
pub(crate) const MOST_DEBT: i64 = 10;

/// What a container of the stub costs: the part of a machine that it keeps from others, in
/// millicores, by whichever of processor, memory and accelerators is the largest.
pub(crate) fn cost(spec: &StubSpec) -> u64 {
    let Resources { cpu_millicores, memory_mib } = spec.resources;
    let gpus = gpus(spec);
    let memory = memory_mib / MEMORY_PER_MILLICORE;
    cpu_millicores.max(memory).max(gpus.saturating_mul(GPU_COST)).max(1)
}

/// What a call is charged: the container's cost, times the milliseconds it is expected to take.
pub(crate) fn charge(cost: u64, call_time: Option<Duration>) -> i64 {
    let time = call_time.unwrap_or(FIRST_CALL).clamp(SHORTEST, LONGEST);
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    i64::try_from(cost.saturating_mul(millis)).unwrap_or(i64::MAX)
}

/// Accelerators of a container of the stub.
fn gpus(spec: &StubSpec) -> u64 {
    if spec.gpu.is_none() { 0 } else { u64::from(spec.gpu.count.max(1)) }
}

/// Something of which a workspace has so much that one more container would be too many.
pub(crate) struct Full {
    pub(crate) used: u64,
    pub(crate) most: u64,
    pub(crate) what: &'static str,
}

/// What a workspace has of the fleet, and what it is owed.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// Its containers with a call.
    pub(crate) calls: usize,
    /// What those cost.
    pub(crate) held: u64,
    /// What those have.
    pub(crate) cpu_millicores: u64,
    pub(crate) memory_mib: u64,
    pub(crate) gpus: u64,
    /// Its queues.
    pub(crate) queues: usize,
    /// Those of them that no worker has room for.
    pub(crate) blocked: BTreeSet<Place>,
    /// What it may still use in its turn; below zero if it used more.
    pub(crate) deficit: i64,
}

impl Share {
    pub(crate) fn is_over(&self) -> bool {
        self.calls == 0 && self.queues == 0
    }

    /// Counts one call in or out.
    pub(crate) fn count(&mut self, spec: &StubSpec, cost: u64, more: bool) {
        let change = |value: &mut u64, by: u64| {
            *value = if more { value.saturating_add(by) } else { value.saturating_sub(by) };
        };
        change(&mut self.held, cost);
        change(&mut self.cpu_millicores, spec.resources.cpu_millicores);
        change(&mut self.memory_mib, spec.resources.memory_mib);
        change(&mut self.gpus, gpus(spec));
        self.calls = if more { self.calls + 1 } else { self.calls.saturating_sub(1) };
    }

    /// What keeps out one more container of the stub; nothing if it stays within what the workspace
    /// may have.
    pub(crate) fn full(&self, rules: &WorkspaceRules, spec: &StubSpec) -> Option<Full> {
        let Resources { cpu_millicores, memory_mib } = spec.resources;
        let all = [
            (rules.max_gpus, self.gpus, gpus(spec), "gpus"),
            (rules.max_cpu_millicores, self.cpu_millicores, cpu_millicores, "millicores"),
            (rules.max_memory_mib, self.memory_mib, memory_mib, "MiB of memory"),
            (rules.max_containers, self.calls as u64, 1, "containers"),
        ];
        all.into_iter().find_map(|(most, used, more, what)| {
            let most = most.filter(|most| more > 0 && used.saturating_add(more) > *most)?;
            Some(Full { used, most, what })
        })
    }
}

#[cfg(test)]
mod tests {
    use metal9_types::{GpuRequest, StubId};

    use super::*;

    #[test]
    fn a_container_costs_what_it_keeps_from_others() {
        let of = |cpu, memory, gpus| {
            let mut spec = StubSpec::new(StubId(uuid::Uuid::nil()));
            spec.resources = Resources { cpu_millicores: cpu, memory_mib: memory };
            spec.gpu = GpuRequest::parse("", gpus);
            cost(&spec)
        };
        assert_eq!(of(1000, 128, 0), 1000);
        assert_eq!(of(1000, 16_384, 0), 4096);
        assert_eq!(of(1000, 128, 2), 16_000);
        assert_eq!(of(0, 0, 0), 1);
    }

    #[test]
    fn a_call_is_charged_for_the_time_that_calls_take() {
        assert_eq!(charge(1000, None), QUANTUM);
        assert_eq!(charge(1000, Some(Duration::from_micros(1))), 10_000);
        assert_eq!(charge(1000, Some(Duration::from_secs(3600))), 60 * QUANTUM);
    }
}
