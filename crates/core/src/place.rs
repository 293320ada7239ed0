//! Placement: pure functions from a stub and a worker to an answer.
//!
//! Two questions are kept apart. [`obstacle`] asks whether a worker could ever run a stub, whatever
//! is on it now; `explain.rs` tells the answer. [`spot`] asks whether it has room now.

use metal9_types::{Device, Offer, Platform, Resources, Runtime, Vendor};

use crate::StubSpec;
use crate::state::{GroupKey, Strain, Worker};

/// What keeps a worker from ever running a stub, in the order in which it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Obstacle {
    /// It is in another pool.
    Pool,
    /// It isolates its jobs in another way than the stub asks for.
    Runtime,
    /// Its containers cannot have the root filesystem that the image is.
    Root,
    /// It cannot hold a job to a list of networks.
    AllowList,
    /// It is on a Mac with a fitting device, but runs its jobs in a virtual machine.
    NotNative,
    /// It has no accelerator of a kind asked for.
    Gpu,
    /// It has too few of them.
    GpuCount,
    /// The memory its accelerator may use is too small.
    GpuMemory,
    /// It offers too little processor time.
    Cpu,
    /// It offers too little memory.
    Memory,
    /// It could, but it is disconnected.
    Disconnected,
    /// It could, but has been silent for a while.
    Silent,
    /// It could, but is leaving.
    Leaving,
    /// It could, but is being emptied.
    Draining,
    /// It could, but is to get nothing new.
    Cordoned,
    /// It could, but is too hot.
    TooHot,
    /// It could, but runs on a battery.
    OnBattery,
}

/// Where in a worker a container would go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// How far down the list of accelerators; 0 is the first choice.
    pub(crate) rank: usize,
    /// Places in the worker's list of devices.
    pub(crate) devices: Vec<usize>,
}

/// How good a spot is; the lowest is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Score {
    /// The first choice of accelerator comes first.
    pub(crate) rank: usize,
    /// Then a worker that has the image (2) and the code (1).
    pub(crate) uncached: u8,
    /// Then one whose other accelerators would not be blocked by a job that needs none.
    pub(crate) spare_devices: usize,
    /// Then the tightest fit: thousandths of the worker left over.
    pub(crate) leftover: u64,
}

/// What keeps this worker from ever running the stub; nothing if it could.
pub(crate) fn obstacle(spec: &StubSpec, worker: &Worker) -> Option<Obstacle> {
    let offer = &worker.offer;
    if let Some(obstacle) = kind_obstacle(spec, offer).or_else(|| gpu_obstacle(spec, worker)) {
        return Some(obstacle);
    }
    if spec.resources.cpu_millicores > offer.capacity.cpu_millicores {
        return Some(Obstacle::Cpu);
    }
    if spec.resources.memory_mib > offer.capacity.memory_mib {
        return Some(Obstacle::Memory);
    }
    if worker.session.is_none() {
        return Some(Obstacle::Disconnected);
    }
    if worker.leaving {
        return Some(Obstacle::Leaving);
    }
    if worker.drain_until.is_some() && !worker.containers.is_empty() {
        return Some(Obstacle::Draining);
    }
    if worker.cordoned {
        return Some(Obstacle::Cordoned);
    }
    if worker.suspect {
        return Some(Obstacle::Silent);
    }
    Some(match worker.strain(!spec.gpu.is_none())? {
        Strain::Hot => Obstacle::TooHot,
        Strain::OnBattery => Obstacle::OnBattery,
    })
}

/// What keeps every worker of a kind from running the stub, whatever its size and accelerators.
fn kind_obstacle(spec: &StubSpec, offer: &Offer) -> Option<Obstacle> {
    if spec.pool.as_ref().is_some_and(|pool| *pool != offer.pool) {
        return Some(Obstacle::Pool);
    }
    if spec.runtime.is_some_and(|runtime| !offer.runtimes.contains(&runtime)) {
        return Some(Obstacle::Runtime);
    }
    if spec.root > offer.root {
        return Some(Obstacle::Root);
    }
    (spec.allow_list && !offer.allow_lists).then_some(Obstacle::AllowList)
}

fn gpu_obstacle(spec: &StubSpec, worker: &Worker) -> Option<Obstacle> {
    if spec.gpu.is_none() || pick_devices(spec, &worker.offer, |_| true).is_some() {
        return None;
    }
    let offer = &worker.offer;
    let wanted = |device: &Device| spec.gpu.any_of.iter().any(|name| name.matches(device));
    let usable =
        || offer.devices.iter().filter(|device| wanted(device) && is_usable(device, offer));
    if usable().next().is_none() {
        let asks_apple = spec.gpu.any_of.iter().any(|name| name.is_apple());
        let out_of_reach = is_on_mac(offer) && !reaches_metal(offer);
        return Some(if asks_apple && out_of_reach { Obstacle::NotNative } else { Obstacle::Gpu });
    }
    if usable().count() < wanted_count(spec) {
        return Some(Obstacle::GpuCount);
    }
    let ask = spec.resources.memory_mib;
    if usable().filter(|device| device.has_memory(ask)).count() < wanted_count(spec) {
        return Some(Obstacle::GpuMemory);
    }
    // Enough devices, but not of one kind.
    Some(Obstacle::GpuCount)
}

/// How far down the stub's list of accelerators the best is that a worker like this has, were it
/// empty; nothing if it can never run the stub, whatever its size.
pub(crate) fn rank(spec: &StubSpec, offer: &Offer) -> Option<usize> {
    if !is_for(spec, offer) {
        return None;
    }
    pick_devices(spec, offer, |_| true).map(|spot| spot.rank)
}

/// Whether a worker like this is one that the stub may run on, whatever its size and accelerators.
pub(crate) fn is_for(spec: &StubSpec, offer: &Offer) -> bool {
    kind_obstacle(spec, offer).is_none()
}

/// Where the stub would go on this worker now; nothing if there is no room for it.
///
/// Does not look at [`obstacle`]s other than accelerators, size and kind, nor at how many
/// containers are starting.
pub(crate) fn spot(spec: &StubSpec, worker: &Worker, group: GroupKey) -> Option<Spot> {
    if !is_for(spec, &worker.offer) || !worker.available(group).fits(spec.resources) {
        return None;
    }
    if worker.gpus_rest && !spec.gpu.is_none() {
        return None;
    }
    pick_devices(spec, &worker.offer, |device| {
        let memory = spec.resources.memory_mib;
        worker.device_fits(device, memory, |_| true, |_, promise| promise.group != group)
    })
}

/// How good a spot is.
pub(crate) fn score(spec: &StubSpec, worker: &Worker, spot: &Spot) -> Score {
    let missing = |name: &str, weight| if worker.cached.contains(name) { 0 } else { weight };
    let devices_free = worker.open_devices();
    let free = worker.free();
    let capacity = worker.offer.capacity;
    Score {
        rank: spot.rank,
        uncached: missing(&spec.image, 2) + missing(&spec.object, 1),
        spare_devices: devices_free.saturating_sub(spot.devices.len()),
        leftover: share(
            free.cpu_millicores,
            spec.resources.cpu_millicores,
            capacity.cpu_millicores,
        )
        .saturating_add(share(
            free.memory_mib,
            spec.resources.memory_mib,
            capacity.memory_mib,
        )),
    }
}

/// Thousandths of `all` that are left of `free` after taking `part`.
fn share(free: u64, part: u64, all: u64) -> u64 {
    free.saturating_sub(part).saturating_mul(1000) / all.max(1)
}

/// The first kind of accelerator in the stub's list of which enough are `allowed`; for a stub
/// without accelerators, no device.
pub(crate) fn pick_devices(
    spec: &StubSpec,
    offer: &Offer,
    allowed: impl Fn(usize) -> bool,
) -> Option<Spot> {
    if spec.gpu.is_none() {
        return Some(Spot { rank: 0, devices: Vec::new() });
    }
    let count = wanted_count(spec);
    let devices = &offer.devices;
    for (rank, name) in spec.gpu.any_of.iter().enumerate() {
        let found: Vec<usize> = (0..devices.len())
            .filter(|&index| {
                let device = &devices[index];
                allowed(index)
                    && name.matches(device)
                    && is_usable(device, offer)
                    && device.has_memory(spec.resources.memory_mib)
            })
            .take(count)
            .collect();
        if found.len() == count {
            return Some(Spot { rank, devices: found });
        }
    }
    None
}

fn wanted_count(spec: &StubSpec) -> usize {
    usize::try_from(spec.gpu.count).unwrap_or(usize::MAX).max(1)
}

/// Metal does not exist inside a virtual machine, whatever the worker says it sees.
fn is_usable(device: &Device, offer: &Offer) -> bool {
    device.vendor != Vendor::Apple || device.simulated || reaches_metal(offer)
}

/// `true` if the machine is a Mac, or a guest of one.
pub(crate) fn is_on_mac(offer: &Offer) -> bool {
    let apple = |device: &Device| device.vendor == Vendor::Apple && !device.simulated;
    offer.platform == Platform::Aarch64Darwin
        || offer.machine.is_guest_on_mac
        || offer.devices.iter().any(apple)
}

/// `true` if jobs there run where Metal is.
pub(crate) fn reaches_metal(offer: &Offer) -> bool {
    offer.platform == Platform::Aarch64Darwin && offer.runtimes.contains(&Runtime::Native)
}

/// How many Apple GPUs of these workers jobs can use.
pub(crate) fn apple_devices<'a>(workers: impl Iterator<Item = &'a Worker>) -> usize {
    let usable = |worker: &&'a Worker| -> usize {
        let devices = worker.offer.devices.iter();
        devices.filter(|d| d.vendor == Vendor::Apple && is_usable(d, &worker.offer)).count()
    };
    workers.map(|worker| usable(&worker)).sum()
}

/// Which of a worker's idle containers to end so that the stub has room, and which devices it then
/// takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clearing {
    /// Places in the list of candidates.
    pub(crate) victims: Vec<usize>,
    /// Where the stub goes afterwards.
    pub(crate) spot: Spot,
}

/// What ending an idle container would give back.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) resources: Resources,
}

/// The shortest list of candidates, the first ones preferred, whose end makes room for the stub.
///
/// `coming` is what is free or will be without ending any; `is_coming` says whether a device will
/// have room once these are ended.
pub(crate) fn clearing(
    spec: &StubSpec,
    worker: &Worker,
    candidates: &[Candidate],
    coming: Resources,
    is_coming: impl Fn(usize, &[usize]) -> bool,
) -> Option<Clearing> {
    let plan = |victims: &[usize]| {
        let room = victims
            .iter()
            .fold(coming, |sum, &victim| sum.saturating_add(candidates[victim].resources));
        let spot = pick_devices(spec, &worker.offer, |device| is_coming(device, victims))?;
        room.fits(spec.resources).then_some(spot)
    };
    let mut victims: Vec<usize> = Vec::new();
    let mut spot = plan(&victims);
    for index in 0..candidates.len() {
        if spot.is_some() {
            break;
        }
        victims.push(index);
        spot = plan(&victims);
    }
    let mut spot = spot?;
    // Those picked early may have become needless once a later one brought the missing device.
    let mut index = 0;
    while index < victims.len() {
        let mut fewer = victims.clone();
        fewer.remove(index);
        match plan(&fewer) {
            Some(better) => (victims, spot) = (fewer, better),
            None => index += 1,
        }
    }
    Some(Clearing { victims, spot })
}
