//! Changing workers, and room that is being made on them.

use metal9_types::{Moment, Offer, WorkerId};

use crate::core::Core;
use crate::state::{GroupKey, Reservation, Worker};

impl Core {
    /// Changes a worker and whatever is counted of its containers.
    pub(crate) fn change_worker(
        &mut self,
        now: Moment,
        id: WorkerId,
        change: impl FnOnce(&mut Worker),
    ) {
        self.change_offer(now, id, None, change);
    }

    /// The same for a worker that may offer something else from now on.
    pub(crate) fn change_offer(
        &mut self,
        now: Moment,
        id: WorkerId,
        offer: Option<&Offer>,
        change: impl FnOnce(&mut Worker),
    ) {
        let Some(worker) = self.workers.get(&id) else { return };
        let containers: Vec<_> = worker.containers.iter().copied().collect();
        for &container in &containers {
            self.unindex_container(container);
        }
        self.unlist(id);
        if let Some(offer) = offer {
            self.leave_class(id);
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.offer = offer.clone();
            }
            self.enter_class(id);
        }
        let mut takes_work = false;
        if let Some(worker) = self.workers.get_mut(&id) {
            change(worker);
            takes_work = worker.takes_work();
        }
        for &container in &containers {
            self.index_container(container);
        }
        if takes_work {
            self.mark_room(id);
        } else {
            self.drop_reservations(id);
            self.note_room(id);
        }
        self.fleet_changed(now);
    }

    /// Room may have appeared on a worker.
    pub(crate) fn mark_room(&mut self, id: WorkerId) {
        if self.workers.contains_key(&id) {
            self.changes.rooms.insert(id);
            self.note_room(id);
        }
    }

    pub(crate) fn has_room(&self, id: WorkerId) -> bool {
        self.workers.get(&id).is_some_and(|worker| {
            worker.is_roomy(&self.config) || self.room_in_full && worker.takes_work()
        })
    }

    /// Holds room on a worker for one task of a group.
    pub(crate) fn reserve(&mut self, id: WorkerId, reservation: Reservation) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let Some(group) = self.groups.get_mut(&reservation.group) else { return };
        group.reservations.push(id);
        worker.reservations.push(reservation);
    }

    /// Gives up every reservation on a worker.
    pub(crate) fn drop_reservations(&mut self, id: WorkerId) {
        let count = self.workers.get(&id).map_or(0, |worker| worker.reservations.len());
        for index in (0..count).rev() {
            self.remove_reservation(id, index);
        }
    }

    /// Gives up every reservation of devices on a worker.
    pub(crate) fn drop_device_reservations(&mut self, id: WorkerId) {
        let count = self.workers.get(&id).map_or(0, |worker| worker.reservations.len());
        for index in (0..count).rev() {
            let reserved = self.workers.get(&id).and_then(|on| on.reservations.get(index));
            if reserved.is_some_and(|promise| !promise.devices.is_empty()) {
                self.remove_reservation(id, index);
            }
        }
    }

    /// Gives up the newest reservation of a group.
    pub(crate) fn drop_one_reservation(&mut self, key: GroupKey) {
        let Some(&id) = self.groups.get(&key).and_then(|group| group.reservations.last()) else {
            return;
        };
        let index = self
            .workers
            .get(&id)
            .and_then(|worker| worker.reservations.iter().rposition(|r| r.group == key));
        if let Some(index) = index {
            self.remove_reservation(id, index);
        }
    }

    /// Removes a reservation; what it held back is room for others.
    pub(crate) fn remove_reservation(&mut self, id: WorkerId, index: usize) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let reservation = worker.reservations.remove(index);
        if let Some(group) = self.groups.get_mut(&reservation.group) {
            if let Some(place) = group.reservations.iter().rposition(|on| *on == id) {
                group.reservations.remove(place);
            }
            // Its tasks need room elsewhere.
            self.changes.groups.insert(reservation.group);
        }
        self.mark_room(id);
    }
}
