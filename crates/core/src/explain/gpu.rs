//! Sentences about accelerators: why no worker has one that fits, and who uses those that would.

use std::collections::{BTreeMap, BTreeSet};

use metal9_types::{Device, WorkerId};

use super::{Survey, names};
use crate::StubSpec;
use crate::core::Core;
use crate::place::{self, Obstacle};
use crate::state::{GroupKey, Holder, Stub, Worker};

/// Of more workers than this nobody is told what they are busy with.
const LOOK_AT_MOST: usize = 16;

/// Stubs that are named; the others are counted.
const NAME_AT_MOST: usize = 3;

/// `true` if the stub asks for such a device, whether or not it can be used.
pub(super) fn is_wanted(spec: &StubSpec, device: &Device) -> bool {
    spec.gpu.any_of.iter().any(|name| name.matches(device))
}

/// No worker has an accelerator of a kind asked for: what there is instead.
pub(super) fn verdict(survey: &Survey, core: &Core, spec: &StubSpec) -> String {
    let found = [Obstacle::Gpu, Obstacle::NotNative];
    let found = found.into_iter().filter_map(|obstacle| survey.obstacles.get(&obstacle));
    let looked: Vec<&Worker> = found.flatten().filter_map(|id| core.workers.get(id)).collect();
    let all_apple = spec.gpu.any_of.iter().all(|name| name.is_apple());
    let asks_apple = spec.gpu.any_of.iter().any(|name| name.is_apple());
    if all_apple && place::apple_devices(looked.iter().copied()) == 0 {
        let instead = match macs(&looked, spec).as_slice() {
            [] => "none is connected".to_owned(),
            some => some.join("; "),
        };
        return format!("gpu {} needs a native worker on a Mac; {instead}", names(spec));
    }
    let there: BTreeSet<String> =
        looked.iter().flat_map(|worker| worker.offer.devices.iter().map(Device::name)).collect();
    let there: Vec<String> = there.into_iter().collect();
    let mut told = vec![match there.as_slice() {
        [] => "there is no gpu at all".to_owned(),
        some => format!("there is {}", some.join(", ")),
    }];
    if asks_apple {
        told.extend(macs(&looked, spec));
    } else {
        let workers = looked.iter().filter(|worker| !worker.offer.machine.is_guest_on_mac);
        told.extend(noted(workers, spec));
    }
    format!("gpu {} is on no worker; {}", names(spec), told.join("; "))
}

/// Why the Macs among the workers offer no GPU.
fn macs(looked: &[&Worker], spec: &StubSpec) -> Vec<String> {
    let gpuless = |worker: &&&Worker| place::apple_devices(std::iter::once(**worker)) == 0;
    let native = |worker: &&&Worker| place::reaches_metal(&worker.offer);
    let on_mac = |worker: &&&Worker| place::is_on_mac(&worker.offer) && !native(worker);
    let guest = |worker: &&&Worker| worker.offer.machine.is_guest_on_mac;
    let mut told = Vec::new();
    let natives = looked.iter().filter(native).filter(gpuless);
    told.extend(noted(natives, spec).or_else(|| {
        let silent = looked.iter().filter(native).find(gpuless)?;
        Some(format!("worker `{}` is one, but reports no gpu", silent.offer.hostname))
    }));
    match looked.iter().filter(on_mac).filter(|worker| !guest(worker)).count() {
        0 => {}
        1 => told.push("1 worker on a Mac runs in a container, which cannot reach Metal".into()),
        count => told
            .push(format!("{count} workers on Macs run in containers, which cannot reach Metal")),
    }
    match looked.iter().filter(on_mac).filter(guest).count() {
        0 => {}
        1 => told.push("1 worker is a Linux guest on a Mac, which cannot reach Metal".into()),
        count => {
            told.push(format!("{count} workers are Linux guests on Macs, which cannot reach Metal"))
        }
    }
    told
}

/// What a worker says of why it has no accelerator: of one that the stub asks for, if any does, else the
/// first that any of them says.
fn noted<'a>(workers: impl Iterator<Item = &'a &'a Worker>, spec: &StubSpec) -> Option<String> {
    let asked: Vec<String> = spec.gpu.any_of.iter().map(ToString::to_string).collect();
    let is_asked = |note: &str| asked.iter().any(|name| note.contains(name.as_str()));
    let notes = workers.flat_map(|worker| {
        let notes = worker.offer.machine.notes.iter().enumerate();
        notes.map(move |(place, note)| (worker, place, note))
    });
    let (worker, _, note) = notes.min_by_key(|(worker, place, note)| {
        (!is_asked(note), worker.offer.hostname.as_str(), *place)
    })?;
    let simulated = if worker.offer.machine.simulated { " (simulated)" } else { "" };
    let note = note.trim_end_matches('.');
    Some(format!("worker `{}`{simulated} says: {note}", worker.offer.hostname))
}

/// Who uses the accelerators that a task of the group waits for; nothing if those are not what it
/// lacks.
pub(super) fn busy(core: &Core, stub: &Stub, key: GroupKey, able: usize) -> Option<String> {
    let spec = &stub.spec;
    if spec.gpu.is_none() || able > LOOK_AT_MOST {
        return None;
    }
    let classes = core.shapes[stub.shape].classes.iter();
    let ids: BTreeSet<WorkerId> = classes
        .filter_map(|number| core.classes.get(number))
        .flat_map(|class| class.workers.iter().copied())
        .collect();
    let lacking: Vec<&Worker> = ids
        .iter()
        .filter_map(|id| core.workers.get(id))
        .filter(|worker| place::obstacle(spec, worker).is_none())
        .filter(|worker| worker.available(key).fits(spec.resources))
        .collect();
    let devices: Vec<(&Device, &Vec<Holder>)> = lacking
        .iter()
        .flat_map(|worker| worker.offer.devices.iter().zip(&worker.holders))
        .filter(|(device, _)| is_wanted(spec, device))
        .collect();
    let users = users(core, key, devices.iter().flat_map(|(_, holders)| holders.iter()))?;
    // With seats to spare, what they lack is memory.
    let seat = devices.iter().any(|(device, holders)| holders.len() < device.seats());
    let (is, are) = match seat {
        true => ("has too little memory left beside", "have too little memory left beside"),
        false => ("is busy with", "are busy with"),
    };
    Some(match (lacking.as_slice(), devices.len()) {
        ([worker], 1) => format!("the GPU of `{}` {is} {users}", worker.offer.hostname),
        ([worker], count) => {
            format!("the {count} GPUs of `{}` {are} {users}", worker.offer.hostname)
        }
        (workers, _) => format!("the GPUs of {} workers {are} {users}", workers.len()),
    })
}

/// The stubs of these containers, by name where they are the workspace's own.
fn users<'a>(
    core: &Core,
    key: GroupKey,
    holders: impl Iterator<Item = &'a Holder>,
) -> Option<String> {
    let mut own: BTreeMap<&str, usize> = BTreeMap::new();
    let mut others = 0;
    for holder in holders {
        let Some(container) = core.containers.get(&holder.container) else { continue };
        let own_one = container.workspace == Some(key.workspace);
        match core.stubs.get(&container.stub).filter(|_| own_one) {
            Some(stub) => *own.entry(&stub.spec.name).or_default() += 1,
            None => others += 1,
        }
    }
    let mut parts: Vec<String> = own
        .iter()
        .take(NAME_AT_MOST)
        .map(|(name, count)| match count {
            1 => format!("`{name}`"),
            _ => format!("{count} × `{name}`"),
        })
        .collect();
    match own.values().skip(NAME_AT_MOST).sum::<usize>() {
        0 => {}
        1 => parts.push("1 other call".to_owned()),
        count => parts.push(format!("{count} other calls")),
    }
    match others {
        0 => {}
        1 => parts.push("a call of another workspace".to_owned()),
        count => parts.push(format!("{count} calls of other workspaces")),
    }
    let last = parts.pop()?;
    Some(if parts.is_empty() { last } else { format!("{} and {last}", parts.join(", ")) })
}
