//! Keeping the lists of workers with room.

use metal9_types::WorkerId;

use crate::StubSpec;
use crate::core::Core;
use crate::place;
use crate::state::{Class, ClassKey, GroupKey, Shape, ShapeKey, share};

impl Core {
    /// The number of a stub's shape; a new one is matched with every class of workers.
    pub(crate) fn shape_of(&mut self, spec: &StubSpec) -> usize {
        let key = ShapeKey::of(spec);
        if let Some(&number) = self.shape_numbers.get(&key) {
            return number;
        }
        let number = self.shapes.len();
        let mut shape = Shape {
            cost: share::cost(spec),
            spec: spec.clone(),
            classes: Vec::new(),
            blocked: Default::default(),
            full: false,
            outlook: None,
        };
        shape.classes = self.classes_for(&shape.spec);
        self.shapes.push(shape);
        self.shape_numbers.insert(key, number);
        number
    }

    /// Classes that can run the stub: those with its first choice first, then those whose
    /// accelerators it would not block.
    fn classes_for(&self, spec: &StubSpec) -> Vec<usize> {
        let mut found: Vec<_> = self
            .classes
            .iter()
            .filter_map(|(&number, class)| {
                let worker = class.workers.first().and_then(|id| self.workers.get(id))?;
                let rank = place::rank(spec, &worker.offer)?;
                Some((rank, worker.offer.devices.len(), number))
            })
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, _, number)| number).collect()
    }

    /// Puts a worker into the class that its offer says; it must be in none.
    pub(crate) fn enter_class(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let key = ClassKey::of(&worker.offer);
        let known = self.class_numbers.get(&key).copied();
        let number = known.unwrap_or(self.next_class);
        worker.class = number;
        if known.is_none() {
            self.next_class += 1;
            self.class_numbers.insert(key.clone(), number);
            self.classes.insert(number, Class::new(key));
        }
        if let Some(class) = self.classes.get_mut(&number) {
            class.workers.insert(id);
        }
        if known.is_none() {
            self.match_shapes(number);
        }
    }

    /// A class is new: the shapes that can run there learn of it.
    fn match_shapes(&mut self, number: usize) {
        for index in 0..self.shapes.len() {
            let classes = self.classes_for(&self.shapes[index].spec);
            let shape = &mut self.shapes[index];
            shape.classes = classes;
            if shape.classes.contains(&number)
                && !shape.blocked.is_empty()
                && let Some(class) = self.classes.get_mut(&number)
            {
                class.ask(shape.asking(index));
            }
        }
    }

    /// Takes a worker out of its class; it must be on no list there.
    pub(crate) fn leave_class(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        let number = worker.class;
        let Some(class) = self.classes.get_mut(&number) else { return };
        class.workers.remove(&id);
        if !class.workers.is_empty() {
            return;
        }
        if let Some(class) = self.classes.remove(&number) {
            self.class_numbers.remove(&class.key);
        }
        for shape in &mut self.shapes {
            shape.classes.retain(|class| *class != number);
        }
    }

    /// Takes a worker off the lists of room, before it changes.
    pub(crate) fn unlist(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let Some(class) = self.classes.get_mut(&worker.class) else { return };
        if let Some(free) = worker.listed.take() {
            class.free.remove(&(free, id));
            class.free_devices.remove(&(free, id));
        }
        class.returning.remove(&id);
    }

    /// Takes note of how much room a worker has now.
    pub(crate) fn note_room(&mut self, id: WorkerId) {
        let has_room = self.has_room(id);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let Some(class) = self.classes.get_mut(&worker.class) else { return };
        let free = has_room.then(|| worker.free().cpu_millicores);
        // While a hello is taken in, there may be holders of devices that are gone.
        let with_device = !class.key.has_no_devices() && worker.has_open_device();
        if worker.listed != free || !worker.holders.is_empty() {
            if let Some(before) = worker.listed {
                class.free.remove(&(before, id));
                class.free_devices.remove(&(before, id));
            }
            worker.listed = free;
            if let Some(free) = free {
                class.free.insert((free, id));
                if with_device {
                    class.free_devices.insert((free, id));
                }
            }
        }
        if worker.takes_work() && worker.has_returning() {
            class.returning.insert(id);
        } else {
            class.returning.remove(&id);
        }
    }

    /// Takes note that no worker has room for a queue.
    pub(crate) fn block(&mut self, key: GroupKey, shape: usize) {
        let Some(known) = self.shapes.get_mut(shape) else { return };
        if known.blocked.is_empty() {
            for number in &known.classes {
                if let Some(class) = self.classes.get_mut(number) {
                    class.ask(known.asking(shape));
                }
            }
        }
        if known.blocked.insert(key) {
            self.list_blocked(key, true);
        }
    }

    /// Moves a blocked queue to its present place among those of its workspace.
    pub(crate) fn relist_blocked(&mut self, key: GroupKey) {
        if self.groups.get(&key).is_some_and(|group| group.listed.is_some()) {
            self.list_blocked(key, true);
        }
    }

    fn list_blocked(&mut self, key: GroupKey, listed: bool) {
        let place = if listed { self.place(key) } else { None };
        let Some(group) = self.groups.get_mut(&key) else { return };
        let before = std::mem::replace(&mut group.listed, place);
        if before == place {
            return;
        }
        let Some(share) = self.shares.get_mut(&key.workspace) else { return };
        if let Some(before) = before {
            share.blocked.remove(&before);
        }
        if let Some(place) = place {
            share.blocked.insert(place);
        }
    }

    /// A queue waits for no room any more.
    pub(crate) fn unblock(&mut self, key: GroupKey, shape: usize) {
        let Some(known) = self.shapes.get_mut(shape) else { return };
        if !known.blocked.remove(&key) {
            return;
        }
        if known.blocked.is_empty() {
            // Nobody takes note of new room from here on.
            known.full = false;
            for number in &known.classes {
                if let Some(class) = self.classes.get_mut(number) {
                    class.stop_asking(known.asking(shape));
                }
            }
        }
        self.list_blocked(key, false);
    }

    /// Sets since when a queue has waited in vain.
    pub(crate) fn set_kept_waiting(
        &mut self,
        key: GroupKey,
        since: impl FnOnce(Option<metal9_types::Moment>) -> Option<metal9_types::Moment>,
    ) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        let before = group.blocked_since;
        let after = since(before);
        if before == after {
            return;
        }
        group.blocked_since = after;
        if let Some(before) = before {
            self.kept_waiting.remove(&(before, key));
        }
        if let Some(after) = after {
            self.kept_waiting.insert((after, key));
        }
    }
}
