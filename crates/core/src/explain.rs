//! Saying why a task waits, from the same answers that placement uses.

use std::collections::BTreeMap;

use metal9_types::{Device, Moment, TaskId, WorkerId};
use serde::Serialize;

use crate::StubSpec;
use crate::core::Core;
use crate::place::{self, Obstacle};
use crate::state::{Reason, Stub, TaskState, Worker};

/// Why a task is where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// One sentence for a person.
    pub sentence: String,
    /// How many workers were looked at and what ruled out each group of them.
    pub detail: Vec<String>,
}

impl Core {
    /// Why a task is where it is; nothing for one that is unknown or has ended.
    #[must_use]
    pub fn explain(&self, now: Moment, id: TaskId) -> Option<Explanation> {
        let task = self.tasks.get(&id)?;
        let stub = self.stubs.get(&task.stub())?;
        let key = task.group();
        let sentence = match task.state {
            TaskState::Recovering => {
                "waiting: the gateway has restarted, and a worker may still be running it".into()
            }
            TaskState::Assigned(assigned) => {
                let worker = self.workers.get(&assigned.worker)?;
                let verb = if assigned.started.is_some() { "running" } else { "starting" };
                return Some(Explanation {
                    sentence: format!("{verb} on worker `{}`", worker.offer.hostname),
                    detail: vec![format!("attempt {} of {}", task.attempts_used, {
                        u64::from(task.spec.max_retries) + 1
                    })],
                });
            }
            TaskState::Queued(queued) => match reason(self, &stub.spec) {
                Reason::Unplaceable(sentence) => sentence,
                Reason::Busy => {
                    let group = self.groups.get(&key)?;
                    let ahead = group.tasks.range(..queued.order).count();
                    Crowd::look(&self.workers, stub, now).sentence(ahead)
                }
            },
        };
        Some(Explanation { sentence, detail: self.detail(stub, key) })
    }

    fn detail(&self, stub: &Stub, key: crate::state::GroupKey) -> Vec<String> {
        let survey = Survey::of(self, &stub.spec);
        let mut detail = vec![format!("{} looked at", workers(survey.looked))];
        for (obstacle, found) in &survey.obstacles {
            detail.push(format!("{}: {}", workers(found.len()), told(*obstacle, &stub.spec)));
        }
        let (mut starting, mut full, mut room) = (0, 0, 0);
        for worker in survey.able.iter().filter_map(|id| self.workers.get(id)) {
            match place::spot(&stub.spec, worker, key) {
                None => full += 1,
                Some(_) if worker.starting >= worker.start_limit(&self.config) => starting += 1,
                Some(_) => room += 1,
            }
        }
        for (count, text) in [
            (full, "could run it and has no room now"),
            (starting, "could run it and is starting as many containers as it may"),
            (room, "has room, which the containers already started are expected to make needless"),
        ] {
            if count > 0 {
                detail.push(format!("{}: {text}", workers(count)));
            }
        }
        detail
    }
}

/// Why tasks of this stub would wait, as far as the set of workers goes.
pub(crate) fn reason(core: &Core, spec: &StubSpec) -> Reason {
    if core.workers.values().any(|worker| place::obstacle(spec, worker).is_none()) {
        return Reason::Busy;
    }
    Reason::Unplaceable(format!("waiting: {}", Survey::of(core, spec).verdict(core, spec)))
}

/// What stands between a stub and each worker.
struct Survey {
    looked: usize,
    obstacles: BTreeMap<Obstacle, Vec<WorkerId>>,
    able: Vec<WorkerId>,
}

impl Survey {
    fn of(core: &Core, spec: &StubSpec) -> Self {
        let mut survey =
            Self { looked: core.workers.len(), obstacles: BTreeMap::new(), able: Vec::new() };
        for worker in core.workers.values() {
            match place::obstacle(spec, worker) {
                Some(obstacle) => survey.obstacles.entry(obstacle).or_default().push(worker.id),
                None => survey.able.push(worker.id),
            }
        }
        survey
    }

    fn count(&self, obstacle: Obstacle) -> usize {
        self.obstacles.get(&obstacle).map_or(0, Vec::len)
    }

    /// The workers that got as far as any, and what stopped them, is what a person can change
    /// most easily.
    fn verdict(&self, core: &Core, spec: &StubSpec) -> String {
        let none_connected = core.workers.values().all(|worker| worker.session.is_none());
        let Some((&furthest, found)) = self.obstacles.last_key_value() else {
            return nobody(spec);
        };
        let found = || found.iter().filter_map(|id| core.workers.get(id));
        let ask = spec.resources;
        match furthest {
            Obstacle::Pool => nobody(spec),
            Obstacle::NotNative | Obstacle::Gpu => self.gpu_verdict(core, spec),
            Obstacle::GpuCount => {
                format!("needs {} × gpu {}; no worker has as many", spec.gpu.count, names(spec))
            }
            Obstacle::GpuMemory => {
                let devices = found().flat_map(|worker| &worker.offer.devices);
                let largest = devices.map(|device| device.memory_mib).max().unwrap_or(0);
                format!(
                    "needs {} MiB of memory; the largest gpu {} may use {largest}",
                    ask.memory_mib,
                    names(spec)
                )
            }
            Obstacle::Cpu => {
                let largest = found().map(|worker| worker.offer.capacity.cpu_millicores).max();
                let largest = largest.unwrap_or(0);
                format!("needs {} millicores; the largest worker has {largest}", ask.cpu_millicores)
            }
            Obstacle::Memory => {
                let largest = found().map(|worker| worker.offer.capacity.memory_mib).max();
                let largest = largest.unwrap_or(0);
                let with =
                    if self.count(Obstacle::Cpu) > 0 { " with enough processor" } else { "" };
                format!(
                    "needs {} MiB of memory; the largest worker{with} has {largest}",
                    ask.memory_mib
                )
            }
            Obstacle::Disconnected if none_connected => "no worker is connected".into(),
            Obstacle::Disconnected => only(found().count(), "is not connected"),
            Obstacle::Silent => only(found().count(), "has not been heard of for a while"),
            Obstacle::Leaving => only(found().count(), "is leaving"),
        }
    }

    fn gpu_verdict(&self, core: &Core, spec: &StubSpec) -> String {
        let asks_apple = spec.gpu.any_of.iter().all(|name| name.is_apple());
        let guests = self.count(Obstacle::NotNative);
        let candidates = || {
            let found = [Obstacle::Gpu, Obstacle::NotNative];
            let found = found.into_iter().filter_map(|obstacle| self.obstacles.get(&obstacle));
            found.flatten().filter_map(|id| core.workers.get(id))
        };
        let apple = place::apple_devices(candidates());
        if asks_apple && apple == 0 {
            let instead = match guests {
                0 => "none is connected".into(),
                1 => "1 worker on a Mac runs in a container, which cannot reach Metal".into(),
                _ => {
                    format!("{guests} workers on Macs run in containers, which cannot reach Metal")
                }
            };
            return format!("gpu {} needs a native worker on a Mac; {instead}", names(spec));
        }
        let mut there: Vec<_> =
            candidates().flat_map(|worker| worker.offer.devices.iter().map(Device::name)).collect();
        there.sort_unstable();
        there.dedup();
        let there = match there.as_slice() {
            [] => "there is no gpu at all".into(),
            [..] => format!("there is {}", there.join(", ")),
        };
        format!("gpu {} is on no worker; {there}", names(spec))
    }
}

/// How crowded the workers are that a stub can run on.
pub(crate) struct Crowd {
    able: usize,
    all: bool,
    /// Containers that are expected to work the queue off soon.
    working: Option<usize>,
}

impl Crowd {
    pub(crate) fn look(workers: &BTreeMap<WorkerId, Worker>, stub: &Stub, now: Moment) -> Self {
        let able =
            workers.values().filter(|worker| place::obstacle(&stub.spec, worker).is_none()).count();
        let working = (!stub.wants_container(now)).then_some(stub.calls.len());
        Self { able, all: able == workers.len(), working }
    }

    pub(crate) fn sentence(&self, ahead: usize) -> String {
        let ahead = match ahead {
            0 => "it is next".to_owned(),
            1 => "1 task is ahead".to_owned(),
            _ => format!("{ahead} tasks are ahead"),
        };
        let which = if self.all { "" } else { " that can run it" };
        match (self.working, self.able) {
            (Some(1), _) => format!("waiting: 1 container is working the queue off; {ahead}"),
            (Some(count), _) => {
                format!("waiting: {count} containers are working the queue off; {ahead}")
            }
            (None, 1) => format!("waiting: the only worker{which} is busy; {ahead}"),
            (None, able) => format!("waiting: all {able} workers{which} are busy; {ahead}"),
        }
    }
}

/// No worker got past the first requirement.
fn nobody(spec: &StubSpec) -> String {
    match &spec.pool {
        Some(pool) => format!("pool \"{pool}\" has no workers"),
        None if spec.gpu.is_none() => "no worker is connected".into(),
        None if spec.gpu.any_of.iter().all(|name| name.is_apple()) => {
            format!("gpu {} needs a native worker on a Mac; none is connected", names(spec))
        }
        None => format!("gpu {} is on no worker; no worker is connected", names(spec)),
    }
}

fn only(count: usize, what: &str) -> String {
    match count {
        1 => format!("the only worker that can run it {what}"),
        _ => format!("each of the {count} workers that can run it {what}"),
    }
}

fn names(spec: &StubSpec) -> String {
    let names: Vec<_> = spec.gpu.any_of.iter().map(|name| format!("\"{name}\"")).collect();
    names.join(" or ")
}

fn workers(count: usize) -> String {
    if count == 1 { "1 worker".into() } else { format!("{count} workers") }
}

/// What an obstacle is called in the details.
fn told(obstacle: Obstacle, spec: &StubSpec) -> String {
    let ask = spec.resources;
    match obstacle {
        Obstacle::Pool => {
            format!("not in pool \"{}\"", spec.pool.as_deref().unwrap_or_default())
        }
        Obstacle::NotNative => "on a Mac, but in a container, which cannot reach Metal".into(),
        Obstacle::Gpu => format!("without gpu {}", names(spec)),
        Obstacle::GpuCount => format!("fewer than {} × gpu {}", spec.gpu.count, names(spec)),
        Obstacle::GpuMemory => {
            format!("a gpu that may use less than {} MiB of memory", ask.memory_mib)
        }
        Obstacle::Cpu => format!("less than {} millicores", ask.cpu_millicores),
        Obstacle::Memory => format!("less than {} MiB of memory", ask.memory_mib),
        Obstacle::Disconnected => "not connected".into(),
        Obstacle::Silent => "not heard of for a while".into(),
        Obstacle::Leaving => "leaving".into(),
    }
}
