//! A worker and what is on it.

use std::collections::BTreeSet;

use metal9_types::{ContainerId, Moment, Offer, Power, Resources, SessionId, Thermal, WorkerId};

use super::{GroupKey, Holder};
use crate::Config;

/// A worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    /// Its connection, while it has one.
    pub(crate) session: Option<SessionId>,
    /// When it last said something, or its connection ended.
    pub(crate) last_heard: Moment,
    /// `true` if it has been silent for too long to be given work.
    pub(crate) suspect: bool,
    /// `true` if it wants to go.
    pub(crate) leaving: bool,
    /// `true` if it is to get nothing new until that is taken back.
    pub(crate) cordoned: bool,
    /// How hot its machine is, and what that runs on, where known.
    pub(crate) thermal: Option<Thermal>,
    pub(crate) power: Option<Power>,
    /// `true` if nothing is to begin on it for that.
    pub(crate) rests: bool,
    /// `true` if nothing that uses an accelerator is.
    pub(crate) gpus_rest: bool,
    /// Until when its running calls may go on.
    pub(crate) drain_until: Option<Moment>,
    /// The class it belongs to.
    pub(crate) class: usize,
    /// Where it stands among the workers of its class with room.
    pub(crate) listed: Option<u64>,
    pub(crate) offer: Offer,
    /// Images and objects it has.
    pub(crate) cached: BTreeSet<String>,
    pub(crate) containers: BTreeSet<ContainerId>,
    /// Its idle containers, the longest idle first.
    pub(crate) idle: BTreeSet<(Moment, ContainerId)>,
    /// Its containers that are starting.
    pub(crate) starting: u32,
    /// What its containers hold, those that are stopping among them.
    pub(crate) used: Resources,
    /// What its stopping containers will give back.
    pub(crate) returning: Resources,
    /// Which containers hold each device.
    pub(crate) holders: Vec<Vec<Holder>>,
    /// Rooms that are being made.
    pub(crate) reservations: Vec<Reservation>,
    /// When queues that were kept waiting last looked in vain for a place to take on it.
    pub(crate) looked_at: Option<Moment>,
    /// `true` if it came back offering less than its containers hold.
    pub(crate) shrunk: bool,
}

/// Room that is being made on a worker for one task of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub(crate) group: GroupKey,
    pub(crate) resources: Resources,
    pub(crate) devices: Vec<usize>,
}

impl Worker {
    pub(crate) fn new(id: WorkerId, offer: Offer) -> Self {
        let holders = vec![Vec::new(); offer.devices.len()];
        Self {
            id,
            session: None,
            last_heard: Moment::ZERO,
            suspect: false,
            leaving: false,
            cordoned: false,
            thermal: None,
            power: None,
            rests: false,
            gpus_rest: false,
            drain_until: None,
            class: 0,
            listed: None,
            offer,
            cached: BTreeSet::new(),
            containers: BTreeSet::new(),
            idle: BTreeSet::new(),
            starting: 0,
            used: Resources::default(),
            returning: Resources::default(),
            holders,
            reservations: Vec::new(),
            looked_at: None,
            shrunk: false,
        }
    }

    /// `true` if it may be given work.
    pub(crate) fn takes_work(&self) -> bool {
        self.session.is_some() && !self.suspect && !self.leaving && !self.cordoned && !self.rests
    }

    /// `true` if containers that become idle on it are to end.
    pub(crate) fn empties(&self) -> bool {
        self.leaving || self.drain_until.is_some()
    }

    /// What no container holds.
    pub(crate) fn free(&self) -> Resources {
        saturating_sub(self.offer.capacity, self.used)
    }

    /// All that is reserved, less one reservation of `own`.
    pub(crate) fn reserved(&self, own: Option<GroupKey>) -> Resources {
        let skip = own.and_then(|own| self.reservations.iter().position(|r| r.group == own));
        self.reservations
            .iter()
            .enumerate()
            .filter(|(index, _)| Some(*index) != skip)
            .fold(Resources::default(), |sum, (_, r)| sum.saturating_add(r.resources))
    }

    /// What a task of the group could have now: what is free, less what others wait for and
    /// stopping containers will not cover.
    pub(crate) fn available(&self, group: GroupKey) -> Resources {
        if self.reservations.is_empty() {
            return self.free();
        }
        let uncovered = saturating_sub(self.reserved(Some(group)), self.returning);
        saturating_sub(self.free(), uncovered)
    }

    /// `true` if more is reserved than there will be once its stopping containers are gone.
    pub(crate) fn is_overdrawn(&self) -> bool {
        let coming = self.free().saturating_add(self.returning);
        !self.reservations.is_empty() && !coming.fits(self.reserved(None))
    }

    /// Containers that may be starting on it at a time.
    pub(crate) fn start_limit(&self, config: &Config) -> u32 {
        let cores = u32::try_from(self.offer.capacity.cpu_millicores / 1000).unwrap_or(u32::MAX);
        cores.saturating_mul(config.starts_per_core).max(1)
    }

    /// `true` if a container could start on it now, were it small enough.
    pub(crate) fn is_roomy(&self, config: &Config) -> bool {
        let free = self.free();
        self.takes_work()
            && self.starting < self.start_limit(config)
            && free.cpu_millicores > 0
            && free.memory_mib > 0
    }

    /// `true` if containers are ending on it that will give something back.
    pub(crate) fn has_returning(&self) -> bool {
        self.returning != Resources::default()
    }

    /// What will be free and promised to nobody once stopping containers are gone.
    pub(crate) fn coming(&self) -> Resources {
        saturating_sub(self.free().saturating_add(self.returning), self.reserved(None))
    }

    /// When to look next at whether it is still there.
    pub(crate) fn next_check(&self, config: &Config) -> Moment {
        let lost = self.last_heard.after(config.lost_after);
        if self.session.is_some() && !self.suspect {
            lost.min(self.last_heard.after(config.suspect_after))
        } else {
            lost
        }
    }
}

/// The difference, each part at least zero.
pub(crate) fn saturating_sub(all: Resources, part: Resources) -> Resources {
    Resources {
        cpu_millicores: all.cpu_millicores.saturating_sub(part.cpu_millicores),
        memory_mib: all.memory_mib.saturating_sub(part.memory_mib),
    }
}
