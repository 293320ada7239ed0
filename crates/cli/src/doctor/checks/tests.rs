//! Machines, sound and not, and what is said about them, word for word.

use std::path::PathBuf;

use metal9_sandbox::Means;
use metal9_service::{Manager, Scope, Standing};
use metal9_types::Thermal;
use metal9_worker::Containers;

use super::super::facts::{
    Answer, Directory, Door, Facts, GatewayFacts, Membership, NoContainers, Power, Programs,
    ServiceFacts, WorkerFacts,
};
use crate::machine::Machine;
use crate::report::{self, Status};

fn check(name: &str, facts: &Facts) {
    let checks = super::checks(facts);
    let found = format!("{}\n{}\n", report::lines(&checks), report::summary(&checks));
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    assert!(expected == found, "{} is\n{expected}\nbut now it is\n{found}", golden.display());
}

fn directory(path: &str, filesystem: &str, free_mib: u64) -> Directory {
    Directory {
        path: path.into(),
        unwritable: None,
        filesystem: Some(filesystem.into()),
        free_mib: Some(free_mib),
    }
}

fn linux() -> Facts {
    Facts {
        machine: Machine {
            metal9: "0.1.0".into(),
            system: "Linux (Debian GNU/Linux 12)".into(),
            architecture: "x86_64".into(),
            ..Machine::default()
        },
        version: "12".into(),
        is_mac: false,
        open_files: Some((1024, 524_288)),
        worker: WorkerFacts {
            state: directory("/home/ada/.metal9/worker", "ext4", 80_000),
            programs: Ok(Programs {
                uv: Some("/home/ada/.local/bin/uv".into()),
                pythons: Some(vec!["3.11".into(), "3.12".into()]),
                restarting: Vec::new(),
                python: Some("3.11".into()),
            }),
            means: Ok(Means::all(7, false)),
            kinds: 3,
            refused: Vec::new(),
            unseen: None,
            containers: None,
            isolation: "on".into(),
            juicefs: None,
            cgroups: vec!["memory v2".into(), "pids v2".into(), "cpu v2".into()],
            membership: Membership::Joined {
                pool: "default".into(),
                gateway: "gateway.lan:1993".into(),
                is_private: true,
                answer: Answer::Known { took_ms: 4, clock_ahead: Some(0) },
            },
            service: ServiceFacts {
                manager: Manager::Systemd,
                scope: Scope::User,
                installed: true,
                is_narrow: false,
                standing: Some(Standing {
                    loaded: true,
                    running: true,
                    pid: Some(77),
                    state: "active (running)".into(),
                    enabled: Some(true),
                    ..Standing::default()
                }),
                lingers: Some(true),
                account: "ada".into(),
                holder: Some("process 77".into()),
            },
        },
        gateway: None,
        power: None,
    }
}

fn mac() -> Facts {
    let mut facts = linux();
    facts.machine.system = "macOS 15.4 Sequoia".into();
    facts.machine.architecture = "aarch64".into();
    facts.machine.processor = "Apple M4 Pro".into();
    facts.machine.gpus = vec!["M4 Pro".into()];
    facts.machine.thermal = Some(Thermal::Nominal);
    facts.worker.programs = Ok(Programs {
        uv: Some("/opt/homebrew/bin/uv".into()),
        pythons: Some(vec!["3.12".into()]),
        restarting: Vec::new(),
        python: Some("3.12".into()),
    });
    (facts.version, facts.is_mac) = ("15.4".into(), true);
    facts.open_files = Some((10_240, u64::MAX >> 1));
    facts.worker.state = directory("/Users/ada/.metal9/worker", "apfs", 200_000);
    (facts.worker.means, facts.worker.kinds) = (Ok(Means::darwin()), 6);
    facts.worker.service = ServiceFacts {
        manager: Manager::Launchd,
        scope: Scope::System,
        lingers: None,
        standing: Some(Standing {
            running: true,
            pid: Some(77),
            state: "running".into(),
            spawn_type: Some("interactive".into()),
            ..Standing::default()
        }),
        ..facts.worker.service
    };
    facts.power = Some(Power {
        sleep: Some(0),
        autorestart: Some(true),
        filevault: Some(false),
        ..Power::default()
    });
    facts
}

#[test]
fn a_sound_linux_worker_has_nothing_to_mend() {
    check("doctor_linux.txt", &linux());
    assert!(super::checks(&linux()).iter().all(|check| check.status == Status::Ok));
}

#[test]
fn a_sound_mac_has_nothing_to_mend_but_what_is_not_there_yet() {
    check("doctor_mac.txt", &mac());
}

#[test]
fn every_fault_of_a_linux_machine_has_its_advice() {
    let mut facts = linux();
    facts.open_files = Some((256, 1024));
    facts.worker.state.filesystem = Some("nfs4".into());
    facts.worker.programs = Ok(Programs::default());
    facts.worker.means = Ok(Means { landlock: 4, network: false, ..Means::all(4, false) });
    facts.worker.isolation = "required".into();
    facts.worker.cgroups = Vec::new();
    let refused = Answer::Refused("the worker's credential was revoked".into());
    let gateway = "gateway.lan:1993".to_owned();
    facts.worker.membership =
        Membership::Joined { pool: "default".into(), gateway, is_private: false, answer: refused };
    let service = &mut facts.worker.service;
    service.lingers = Some(false);
    service.standing = Some(Standing {
        loaded: true,
        state: "failed (failed)".into(),
        last_exit: Some("70".into()),
        enabled: Some(true),
        ..Standing::default()
    });
    facts.gateway = Some(GatewayFacts {
        state: directory("/home/ada/.metal9/gateway", "ext4", 300),
        min_free_mib: 512,
        key_is_open: true,
        tls: false,
        doors: vec![
            Door { name: "grpc port", address: "0.0.0.0:1993".parse().unwrap(), taken: None },
            Door {
                name: "http port",
                address: "127.0.0.1:1994".parse().unwrap(),
                taken: Some("`python3` (pid 9) listens there".into()),
            },
        ],
        running: None,
        juicefs: Some(Err("there is no fusermount3".into())),
        health: None,
    });
    check("doctor_linux_faults.txt", &facts);
    let all = super::checks(&facts);
    let mute = all.iter().find(|check| check.status > Status::Skipped && check.fix.is_none());
    assert!(mute.is_none(), "{mute:?}");
}

#[test]
fn every_fault_of_a_mac_has_its_advice() {
    let mut facts = mac();
    facts.machine.architecture = "x86_64".into();
    facts.machine.gpus = Vec::new();
    facts.machine.notes = vec!["this is a virtual machine".into()];
    facts.machine.thermal = Some(Thermal::Heavy);
    facts.version = "13.6".into();
    facts.worker.state.unwritable = Some("Permission denied (os error 13)".into());
    facts.worker.programs = Err("`/opt/uv` is no uv".into());
    facts.worker.means = Ok(Means::default());
    facts.worker.kinds = 1;
    facts.worker.membership = Membership::Joined {
        pool: "macs".into(),
        gateway: "gateway.lan:1993".into(),
        is_private: true,
        answer: Answer::Known { took_ms: 12, clock_ahead: Some(-400) },
    };
    let service = &mut facts.worker.service;
    service.standing = service
        .standing
        .take()
        .map(|standing| Standing { spawn_type: Some("daemon".into()), ..standing });
    facts.power = Some(Power {
        sleep: Some(10),
        autorestart: Some(false),
        filevault: Some(true),
        ..Power::default()
    });
    check("doctor_mac_faults.txt", &facts);
}

#[test]
fn a_mac_with_no_python_but_frameworks_is_told_what_it_loses_and_one_without_any_is_fine() {
    let shown = |programs| {
        let mut facts = mac();
        facts.worker.programs = Ok(programs);
        let all = super::checks(&facts);
        all.into_iter().find(|check| check.name == "pythons").unwrap()
    };
    let found = || Some(vec!["3.9".into(), "3.13".into()]);
    let restarting = vec!["3.9".to_owned(), "3.13".to_owned()];
    let only = shown(Programs { pythons: found(), restarting, ..Programs::default() });
    assert_eq!(only.status, Status::Warn);
    assert!(only.found.starts_with("3.9, 3.13, of Xcode, Homebrew or python.org"), "{only:?}");
    assert!(only.fix.is_some_and(|fix| fix.contains("UV_PYTHON_INSTALL_MIRROR")));
    let some = vec!["3.9".to_owned()];
    let good = shown(Programs { pythons: found(), restarting: some, ..Programs::default() });
    assert_eq!(good.status, Status::Ok);
    assert_eq!(shown(Programs::default()).status, Status::Ok);
    assert_eq!(
        shown(Programs { pythons: Some(Vec::new()), ..Programs::default() }).status,
        Status::Ok
    );
}

#[test]
fn what_jobs_on_a_mac_do_not_get_is_told_with_advice() {
    let mut facts = mac();
    facts.worker.means = Ok(Means { memory_limit: false, ..Means::darwin() });
    facts.worker.unseen = Some("Apple M4 Pro: it does not compute: no command queue".into());
    facts.worker.refused = vec![
        "network `none` and a GPU: could not isolate /m9: entering the system's sandbox failed"
            .into(),
    ];
    check("doctor_mac_jobs.txt", &facts);
    let failed = super::checks(&facts).into_iter().filter(|check| check.status > Status::Skipped);
    let failed: Vec<_> = failed.map(|check| (check.name, check.fix.is_some())).collect();
    assert_eq!(failed, [("gpu", true), ("kinds of jobs", true), ("memory limit", true)]);
}

#[test]
fn a_laptop_may_sleep_and_says_when_it_runs_on_its_battery() {
    let mut facts = mac();
    facts.worker.service.scope = Scope::User;
    facts.power = Some(Power {
        has_battery: true,
        on_battery: true,
        sleep: Some(10),
        filevault: Some(true),
        autorestart: None,
    });
    check("doctor_laptop.txt", &facts);
}

#[test]
fn a_gateway_that_runs_is_asked_instead_of_its_ports() {
    let mut facts = linux();
    facts.worker.membership = Membership::None;
    facts.worker.service.installed = false;
    facts.gateway = Some(GatewayFacts {
        state: directory("/home/ada/.metal9/gateway", "ext4", 80_000),
        min_free_mib: 512,
        key_is_open: false,
        tls: true,
        doors: vec![Door {
            name: "grpc port",
            address: "0.0.0.0:1993".parse().unwrap(),
            taken: None,
        }],
        running: Some(12),
        juicefs: Some(Ok("redis://meta.lan/1".into())),
        health: Some(Ok(())),
    });
    check("doctor_gateway.txt", &facts);
}

fn containers() -> Containers {
    Containers {
        runtime: "runc 1.1.5".into(),
        own_users: true,
        no_network: None,
        no_images: None,
        builds: true,
        no_service: None,
    }
}

#[test]
fn a_sound_worker_of_containers_has_nothing_to_mend() {
    let mut facts = linux();
    facts.worker.containers = Some(Ok(containers()));
    facts.worker.service.scope = Scope::System;
    check("doctor_containers.txt", &facts);
    assert!(super::checks(&facts).iter().all(|check| check.status == Status::Ok));
}

#[test]
fn every_fault_of_a_worker_of_containers_has_its_advice() {
    let mut facts = linux();
    facts.worker.service.is_narrow = true;
    facts.worker.cgroups = Vec::new();
    facts.worker.juicefs = Some("there is no fusermount3 (on Debian and Ubuntu: `fuse3`)".into());
    facts.worker.containers = Some(Ok(Containers {
        own_users: false,
        no_network: Some("`nft` cannot be started: No such file or directory".into()),
        no_images: Some("a container cannot be started: No such device (os error 19)".into()),
        no_service: Some("what serves cannot be reached\nhint: install a newer runsc".into()),
        ..containers()
    }));
    check("doctor_containers_faults.txt", &facts);
    let mute = |facts: &Facts| {
        let mut all = super::checks(facts).into_iter();
        all.find(|check| check.status > Status::Skipped && check.fix.is_none())
    };
    assert_eq!(mute(&facts), None);
    // What is only worth a warning keeps a worker from starting where isolation is required.
    let faults = |facts: &Facts| {
        let all = super::checks(facts).into_iter();
        let of = all.filter(|check| ["containers", "networks"].contains(&check.name));
        of.map(|check| check.status).collect::<Vec<_>>()
    };
    assert_eq!(faults(&facts), [Status::Warn; 2]);
    facts.worker.isolation = "required".into();
    assert_eq!(faults(&facts), [Status::Fail; 2]);
    for (is_missing, is_root) in [(true, true), (false, false), (false, true)] {
        let (runtime, why) = ("runsc".to_owned(), "it does not start".to_owned());
        let none = NoContainers { runtime, why, is_missing, is_root };
        facts.worker.containers = Some(Err(none));
        assert_eq!(mute(&facts), None);
        assert!(!report::all_work(&super::checks(&facts)));
    }
    facts.worker.containers = Some(Ok(Containers { builds: false, ..containers() }));
    let shown = super::checks(&facts).into_iter().find(|check| check.name == "images");
    assert!(shown.is_some_and(|it| it.status == Status::Skipped && it.fix.is_some()));
}
