//! Whatever the fleet and the work: placement is feasible, stable and keeps preferences, and nobody
//! starves.

use std::collections::BTreeMap;
use std::time::Duration;

use metal9_types::{Device, GpuRequest, Resources, TaskId, Vendor, WorkerId};
use proptest::prelude::*;

use super::env::{TestEnv, device, hello, stub, stub_spec, task, task_spec, worker, workspace};
use super::sim::Sim;
use crate::{Action, Input, StubSpec, TaskSpec, WorkerHello};

/// Nobody of a handful of workspaces waits longer on one machine, with calls of up to 0.4 s.
const LONGEST: Duration = Duration::from_secs(12);

/// Cores, memory, devices and pool of a worker.
type Machine = (u64, u64, u8, bool);
/// Processor, memory, accelerators and pool of a stub.
type Ask = (u64, u64, u8, bool);

fn machine() -> impl Strategy<Value = Machine> {
    (1..9_u64, 256..4096_u64, 0..5_u8, any::<bool>())
}

fn ask() -> impl Strategy<Value = Ask> {
    (100..5000_u64, 64..2048_u64, 0..5_u8, any::<bool>())
}

fn offer(number: u64, (cores, memory, devices, lab): Machine) -> WorkerHello {
    let mut hello = hello(number, number, cores, memory);
    hello.offer.devices = match devices {
        0 | 1 => Vec::new(),
        2 => vec![device(Vendor::Nvidia, "H100", ""); 2],
        3 => vec![device(Vendor::Nvidia, "A10G", "")],
        _ => vec![Device { slots: 2, ..device(Vendor::Nvidia, "A10G", "") }],
    };
    if lab {
        hello.offer.pool = "lab".into();
    }
    hello
}

fn spec(number: u64, (cpu, memory, gpu, lab): Ask) -> StubSpec {
    let gpu = match gpu {
        0..=2 => GpuRequest::default(),
        3 => GpuRequest::parse("H100,A10G", 1),
        _ => GpuRequest::parse("A10G", 1),
    };
    StubSpec {
        resources: Resources { cpu_millicores: cpu, memory_mib: memory },
        gpu,
        pool: lab.then(|| "lab".to_owned()),
        ..stub_spec(number)
    }
}

/// Connects the workers, hands the tasks in and gives back who got what.
fn place(machines: &[(u64, Machine)], asks: &[Ask]) -> BTreeMap<TaskId, WorkerId> {
    let mut env = TestEnv::new();
    for (number, ask) in (1..).zip(asks) {
        env.define(spec(number, *ask));
    }
    for &(number, machine) in machines {
        env.connect(offer(number, machine));
    }
    for (number, _) in (1..).zip(asks) {
        env.ok(Input::Submit(task_spec(number, number)));
    }
    let actions = std::mem::take(&mut env.actions);
    let given = actions.into_iter().filter_map(|action| match action {
        Action::Assign { task, worker, .. } => Some((task, worker)),
        _ => None,
    });
    given.collect()
}

fn numbered(machines: &[Machine]) -> Vec<(u64, Machine)> {
    (1..).zip(machines.iter().copied()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_worker_gets_more_than_it_has(
        machines in prop::collection::vec(machine(), 1..6),
        asks in prop::collection::vec(ask(), 1..30),
    ) {
        let given = place(&numbered(&machines), &asks);
        for (number, &(cores, memory, devices, lab)) in (1..).zip(&machines) {
            let here: Vec<Ask> = (1..)
                .zip(&asks)
                .filter(|(index, _)| given.get(&task(*index)) == Some(&worker(number)))
                .map(|(_, ask)| *ask)
                .collect();
            prop_assert!(here.iter().map(|ask| ask.0).sum::<u64>() <= cores * 1000);
            prop_assert!(here.iter().map(|ask| ask.1).sum::<u64>() <= memory);
            let gpus = here.iter().filter(|ask| ask.2 >= 3).count();
            prop_assert!(gpus <= [0, 0, 2, 1, 2][usize::from(devices)]);
            prop_assert!(here.iter().all(|ask| !ask.3 || lab));
        }
    }

    #[test]
    fn the_same_goes_to_the_same_and_a_worker_that_cannot_help_changes_nothing(
        machines in prop::collection::vec(machine(), 1..6),
        asks in prop::collection::vec(ask(), 1..20),
        (cores, memory, devices, lab) in machine(),
        first in any::<bool>(),
    ) {
        let machines = numbered(&machines);
        let given = place(&machines, &asks);
        prop_assert_eq!(&place(&machines, &asks), &given);
        // Too little memory for the smallest of them.
        let least = asks.iter().map(|ask| ask.1).min().unwrap_or(1);
        let useless = (99, (cores, memory.min(least - 1), devices, lab));
        let mut more = machines;
        if first { more.insert(0, useless) } else { more.push(useless) }
        prop_assert_eq!(place(&more, &asks), given);
    }

    #[test]
    fn a_free_first_choice_is_taken(
        machines in prop::collection::vec(machine(), 1..6),
        cpu in 100..2000_u64,
    ) {
        let machines = numbered(&machines);
        let given = place(&machines, &[(cpu, 64, 3, false)]);
        let can = |kind: u8| {
            let mut found = machines.iter().filter(|(_, m)| m.2 == kind && m.0 * 1000 >= cpu);
            found.next().is_some()
        };
        let got = given.get(&task(1)).map(|id| {
            machines.iter().find(|(number, _)| worker(*number) == *id).map_or(0, |(_, m)| m.2)
        });
        let second = can(3) || can(4);
        prop_assert_eq!(got == Some(2), can(2));
        prop_assert_eq!(matches!(got, Some(3 | 4)), second && !can(2));
    }

    #[test]
    fn a_cordoned_or_drained_worker_never_gets_anything(
        machines in prop::collection::vec(machine(), 2..6),
        asks in prop::collection::vec(ask(), 1..20),
        drained in any::<bool>(),
    ) {
        let mut env = TestEnv::new();
        for (number, ask) in (1..).zip(&asks) {
            env.define(spec(number, *ask));
        }
        for (number, machine) in numbered(&machines) {
            env.connect(offer(number, machine));
        }
        let within = Duration::from_secs(1);
        env.ok(match drained {
            true => Input::Drain { worker: worker(1), within },
            false => Input::Cordon { worker: worker(1), on: true },
        });
        for (number, _) in (1..).zip(&asks) {
            env.ok(Input::Submit(task_spec(number, number)));
        }
        for number in 1..=machines.len() as u64 {
            let alive = (number, number);
            env.alive(alive.0, alive.1);
        }
        env.millis(2000);
        for action in std::mem::take(&mut env.actions) {
            if let Action::Assign { worker: on, .. } = action {
                prop_assert_ne!(on, worker(1));
            }
        }
    }

    #[test]
    fn nobody_waits_for_the_end_of_anothers_queue(
        cores in 1..5_u64,
        greedy in 1..4_u64,
        // Of each workspace's stub: processor, length of a call, and whether idle ones are kept.
        kinds in prop::collection::vec((1..5_u64, 20..400_u64, any::<bool>()), 5),
    ) {
        let mut env = TestEnv::new();
        for (number, (parts, _, warm)) in (1..).zip(&kinds) {
            let mut spec = stub_spec(number);
            spec.resources.cpu_millicores = parts * cores * 250;
            spec.resources.cpu_millicores = spec.resources.cpu_millicores.min(cores * 1000);
            spec.keep_warm = Duration::from_secs(if *warm { 10 } else { 0 });
            env.define(spec);
        }
        env.hello(1, 1, cores);
        let mut sim = Sim::new(env, &[(1, 1)]);
        for (number, (_, call, _)) in (1..).zip(&kinds) {
            sim.pace(stub(number), 100, *call);
        }
        let submit = |sim: &mut Sim, number: u64, whose: u64| {
            let workspace = workspace(whose);
            sim.env.ok(Input::Submit(TaskSpec { workspace, ..task_spec(number, whose) }));
        };
        for number in 0..150 {
            for whose in 1..=greedy {
                submit(&mut sim, whose * 1000 + number, whose);
            }
        }
        sim.run(20, Duration::from_secs(60));
        let late: Vec<u64> = (greedy + 1..=5).collect();
        let came = sim.env.now;
        for &whose in &late {
            submit(&mut sim, whose * 1000, whose);
        }
        sim.run(150 * greedy as usize + late.len(), Duration::from_secs(600));
        prop_assert_eq!(sim.ended.len(), 150 * greedy as usize + late.len());
        for whose in late {
            let waited = sim.ended[&task(whose * 1000)].since(came);
            prop_assert!(waited < LONGEST, "workspace {whose} waited {waited:?}");
        }
    }
}
