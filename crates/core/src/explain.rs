//! Saying why a task waits, from the same answers that placement uses.

mod gpu;
mod kind;

use std::collections::BTreeMap;

use metal9_types::{Moment, TaskId, WorkerId};
use serde::Serialize;

use crate::StubSpec;
use crate::core::Core;
use crate::place::{self, Obstacle};
use crate::state::share::Full;
use crate::state::{GroupKey, Outlook, Reason, Stub, TaskState};

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
            TaskState::Resting(until) => {
                let crashes = task.crashes;
                let seconds = until.since(now).as_secs_f64().ceil();
                format!("waiting: it crashed {crashes} times; it is tried again in {seconds} s")
            }
            TaskState::Queued(queued) => match self.look_out(stub.shape).reason {
                Reason::Unplaceable(sentence) => sentence,
                Reason::Busy => {
                    let group = self.groups.get(&key)?;
                    let ahead = group.tasks.range(..queued.order).count();
                    Crowd::look(self, stub, key, now).sentence(ahead)
                }
            },
        };
        Some(Explanation { sentence, detail: self.detail(stub, key) })
    }

    /// Why tasks of this shape would wait, as far as the set of workers goes.
    pub(crate) fn look_out(&self, shape: usize) -> Outlook {
        let shape = &self.shapes[shape];
        if let Some(known) = &shape.outlook
            && known.fleet == self.fleet
        {
            return known.clone();
        }
        let classes = shape.classes.iter().filter_map(|number| self.classes.get(number));
        let workers = classes.flat_map(|class| &class.workers);
        let able = workers
            .filter_map(|id| self.workers.get(id))
            .filter(|worker| place::obstacle(&shape.spec, worker).is_none())
            .count();
        let reason = if able > 0 {
            Reason::Busy
        } else {
            let verdict = Survey::of(self, &shape.spec).verdict(self, &shape.spec);
            Reason::Unplaceable(format!("waiting: {verdict}"))
        };
        Outlook { fleet: self.fleet, reason, able }
    }

    fn detail(&self, stub: &Stub, key: GroupKey) -> Vec<String> {
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
        if let Some(share) = self.shares.get(&key.workspace)
            && share.calls > 0
        {
            let all: u64 = self.shares.values().map(|share| share.held).sum();
            let percent = share.held.saturating_mul(100) / all.max(1);
            detail.push(format!("the workspace has {percent} % of what is in use"));
        }
        detail
    }
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
            Obstacle::Runtime | Obstacle::Root | Obstacle::AllowList => {
                kind::verdict(self, core, furthest, spec)
            }
            Obstacle::NotNative | Obstacle::Gpu => gpu::verdict(self, core, spec),
            Obstacle::GpuCount => {
                format!("needs {} × gpu {}; no worker has as many", spec.gpu.count, names(spec))
            }
            Obstacle::GpuMemory => {
                let devices = found().flat_map(|worker| &worker.offer.devices);
                let devices = devices.filter(|device| gpu::is_wanted(spec, device));
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
            _ => self.unavailable(spec, none_connected),
        }
    }

    /// Some workers could, but none of them takes work.
    fn unavailable(&self, spec: &StubSpec, none_connected: bool) -> String {
        let begun = if spec.gpu.is_none() { "jobs" } else { "gpu jobs" };
        let on_battery = format!("on battery, on which it begins no {begun} (`worker.on_battery`)");
        let states = [
            (Obstacle::Disconnected, "not connected"),
            (Obstacle::Silent, "not been heard of for a while"),
            (Obstacle::Leaving, "leaving"),
            (Obstacle::Draining, "being drained"),
            (Obstacle::Cordoned, "cordoned"),
            (Obstacle::TooHot, "too hot to begin more"),
            (Obstacle::OnBattery, &on_battery),
        ];
        let found: Vec<_> = states
            .into_iter()
            .map(|(obstacle, what)| {
                let has = if obstacle == Obstacle::Silent { "has" } else { "is" };
                (self.count(obstacle), format!("{has} {what}"))
            })
            .filter(|(count, _)| *count > 0)
            .collect();
        match found.as_slice() {
            [_] if none_connected => "no worker is connected".into(),
            [(count, what)] => only(*count, what),
            _ => {
                let all: usize = found.iter().map(|(count, _)| count).sum();
                let each: Vec<_> =
                    found.iter().map(|(count, what)| format!("{count} {what}")).collect();
                format!("of the {all} workers that can run it, {}", each.join(", "))
            }
        }
    }
}

/// Why tasks wait although some worker could run them.
enum Why {
    /// The stub has as many containers as it may.
    AtLimit(u32),
    /// The workspace has as much as it may.
    Capped(String),
    /// So many containers are expected to work the queue off soon.
    Working(usize),
    /// Tasks of the same workspace go first.
    Behind,
    /// The workers with room start as many containers as they may.
    Starting(usize),
    /// What they lack is a free accelerator.
    GpuBusy(String),
    /// They are all busy.
    Busy,
}

/// How crowded the workers are that a stub can run on.
pub(crate) struct Crowd {
    able: usize,
    all: bool,
    why: Why,
}

/// On more workers than this nobody looks whether some only start too many containers: it would
/// have to be done for each queue.
const LOOK_AT_MOST: usize = 256;

impl Crowd {
    pub(crate) fn look(core: &Core, stub: &Stub, key: GroupKey, now: Moment) -> Self {
        let able = core.look_out(stub.shape).able;
        let why = if !core.is_within_rules(key) {
            Why::Capped(capped(core, key))
        } else if let Some(most) = stub.most().filter(|_| stub.is_at_limit()) {
            Why::AtLimit(most)
        } else if !stub.wants_container(now) {
            Why::Working(stub.calls.len())
        } else if core.is_behind(key) {
            Why::Behind
        } else {
            match core.starting(stub, key, able) {
                0 => gpu::busy(core, stub, key, able).map_or(Why::Busy, Why::GpuBusy),
                starting => Why::Starting(starting),
            }
        };
        Self { able, all: able == core.workers.len(), why }
    }

    pub(crate) fn sentence(&self, ahead: usize) -> String {
        let ahead = match ahead {
            0 => "it is next".to_owned(),
            1 => "1 task is ahead".to_owned(),
            _ => format!("{ahead} tasks are ahead"),
        };
        let which = if self.all { "" } else { " that can run it" };
        let busy = match self.able {
            1 => format!("the only worker{which} is busy"),
            able => format!("all {able} workers{which} are busy"),
        };
        match &self.why {
            Why::AtLimit(1) => {
                format!("waiting: its stub has the 1 container that it may have; {ahead}")
            }
            Why::AtLimit(most) => {
                format!("waiting: its stub has all {most} containers that it may have; {ahead}")
            }
            Why::Capped(what) => format!("waiting: {what}; {ahead}"),
            Why::Working(1) => format!("waiting: 1 container is working the queue off; {ahead}"),
            Why::Working(count) => {
                format!("waiting: {count} containers are working the queue off; {ahead}")
            }
            Why::Behind => {
                format!("waiting: {busy}, and tasks of higher priority go first; {ahead}")
            }
            Why::Starting(1) => format!(
                "waiting: the worker with room is starting as many containers as it may; {ahead}"
            ),
            Why::Starting(count) => format!(
                "waiting: the {count} workers with room are starting as many containers as they \
                 may; {ahead}"
            ),
            Why::GpuBusy(busy) => format!("waiting: {busy}; {ahead}"),
            Why::Busy => format!("waiting: {busy}; {ahead}"),
        }
    }
}

impl Core {
    /// `true` if a queue of the same workspace goes first for its higher priority.
    fn is_behind(&self, key: GroupKey) -> bool {
        let priority = |key: &GroupKey| self.stubs.get(&key.stub).map(|stub| stub.spec.priority);
        let (mine, place) = (priority(&key), self.place(key));
        self.kept_waiting.iter().any(|(_, other)| {
            other.workspace == key.workspace
                && priority(other) > mine
                && self.place(*other).is_some_and(|other| Some(other) < place)
        })
    }

    /// Workers that would have room, did they not start so many containers.
    fn starting(&self, stub: &Stub, key: GroupKey, able: usize) -> usize {
        if able > LOOK_AT_MOST {
            return 0;
        }
        let classes = self.shapes[stub.shape].classes.iter();
        classes
            .filter_map(|number| self.classes.get(number))
            .flat_map(|class| &class.workers)
            .filter_map(|id| self.workers.get(id))
            .filter(|worker| worker.takes_work())
            .filter(|worker| worker.starting >= worker.start_limit(&self.config))
            .filter(|worker| place::spot(&stub.spec, worker, key).is_some())
            .count()
    }
}

/// What of its share the workspace has used up: whatever keeps out one more call.
fn capped(core: &Core, key: GroupKey) -> String {
    let rules = core.rules(key.workspace);
    let (Some(share), Some(stub)) = (core.shares.get(&key.workspace), core.stubs.get(&key.stub))
    else {
        return String::new();
    };
    match share.full(&rules, &stub.spec) {
        Some(Full { used, most, what }) => {
            format!("the workspace uses {used} of the {most} {what} it may have")
        }
        None => "the workspace has all that it may have".to_owned(),
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
        Obstacle::Runtime | Obstacle::Root | Obstacle::AllowList => kind::told(obstacle, spec),
        Obstacle::NotNative => {
            "on a Mac, but in a container or a guest, which cannot reach Metal".into()
        }
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
        Obstacle::Draining => "being drained".into(),
        Obstacle::Cordoned => "cordoned".into(),
        Obstacle::TooHot => "too hot".into(),
        Obstacle::OnBattery => "on battery, and set to begin nothing like it then".into(),
    }
}
