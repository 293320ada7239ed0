//! Workers that are alike to placement, and where among them there is room.

use std::collections::BTreeSet;

use metal9_types::{ContainerId, Device, Moment, Offer, Platform, RootSource, Runtime, WorkerId};

/// What makes workers alike: all that decides whether one can ever run a stub, except its size.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClassKey {
    pool: String,
    platform: Platform,
    runtimes: Vec<Runtime>,
    root: RootSource,
    allow_lists: bool,
    devices: Vec<Device>,
}

impl ClassKey {
    pub(crate) fn of(offer: &Offer) -> Self {
        Self {
            pool: offer.pool.clone(),
            platform: offer.platform,
            runtimes: offer.runtimes.clone(),
            root: offer.root,
            allow_lists: offer.allow_lists,
            devices: offer.devices.clone(),
        }
    }

    pub(crate) fn has_no_devices(&self) -> bool {
        self.devices.is_empty()
    }
}

/// A shape whose tasks wait, as it is looked through when room appears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asking {
    pub(crate) cpu: u64,
    pub(crate) memory: u64,
    pub(crate) shape: usize,
}

/// A class of workers.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) key: ClassKey,
    pub(crate) workers: BTreeSet<WorkerId>,
    /// Workers on which a container could start now, were it small enough, by free processor.
    pub(crate) free: BTreeSet<(u64, WorkerId)>,
    /// Those of them with a device that no container holds.
    pub(crate) free_devices: BTreeSet<(u64, WorkerId)>,
    /// Idle containers on workers that take work, the longest idle first.
    pub(crate) idle: BTreeSet<(Moment, ContainerId)>,
    /// Workers that take work and have stopping containers.
    pub(crate) returning: BTreeSet<WorkerId>,
    /// Shapes that could run here and have blocked queues, in order.
    pub(crate) asking: Vec<Asking>,
}

impl Class {
    pub(crate) fn new(key: ClassKey) -> Self {
        Self {
            key,
            workers: BTreeSet::new(),
            free: BTreeSet::new(),
            free_devices: BTreeSet::new(),
            idle: BTreeSet::new(),
            returning: BTreeSet::new(),
            asking: Vec::new(),
        }
    }

    pub(crate) fn ask(&mut self, asking: Asking) {
        if let Err(index) = self.asking.binary_search(&asking) {
            self.asking.insert(index, asking);
        }
    }

    pub(crate) fn stop_asking(&mut self, asking: Asking) {
        if let Ok(index) = self.asking.binary_search(&asking) {
            self.asking.remove(index);
        }
    }
}
