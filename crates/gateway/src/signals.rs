//! Waking those who watch a signal when it changes. What is set is in the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use metal9_types::WorkspaceId;
use tokio::sync::Notify;

type Key = (WorkspaceId, String);

/// One entry per signal that somebody watches.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    watched: Arc<Mutex<HashMap<Key, Arc<Notify>>>>,
}

/// Somebody who watches a signal; forgotten when dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    key: Key,
    changed: Arc<Notify>,
    watched: Arc<Mutex<HashMap<Key, Arc<Notify>>>>,
}

impl Signals {
    /// Watches a signal, whether it is set or not.
    pub(crate) fn watch(&self, workspace: WorkspaceId, name: &str) -> Watcher {
        let key = (workspace, name.to_owned());
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = Arc::clone(watched.entry(key.clone()).or_default());
        Watcher { key, changed, watched: Arc::clone(&self.watched) }
    }

    /// Wakes who watches. To be called when the change is on disk.
    pub(crate) fn changed(&self, workspace: WorkspaceId, name: &str) {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(changed) = watched.get(&(workspace, name.to_owned())) {
            changed.notify_waiters();
        }
    }
}

impl Watcher {
    /// What resolves at the next change. Changes after this call are not missed once it is enabled.
    pub(crate) fn change(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        // One reference is the map's and one is this watcher's: it was the last one.
        if Arc::strong_count(&self.changed) <= 2 {
            watched.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn a_change_wakes_all_who_watch_it_and_nobody_else() {
        let signals = Signals::default();
        let (ours, theirs) = (WorkspaceId(Uuid::from_u128(1)), WorkspaceId(Uuid::from_u128(2)));
        let (one, two) = (signals.watch(ours, "a"), signals.watch(ours, "a"));
        let (name, other) = (signals.watch(ours, "b"), signals.watch(theirs, "a"));
        let mut waiting: Vec<_> =
            [&one, &two, &name, &other].map(|watcher| Box::pin(watcher.change())).into();
        for waiter in &mut waiting {
            waiter.as_mut().enable();
        }
        signals.changed(ours, "a");
        let mut woken = Vec::new();
        for waiter in &mut waiting {
            woken.push(futures::poll!(waiter).is_ready());
        }
        assert_eq!(woken, [true, true, false, false]);
    }

    #[tokio::test]
    async fn nothing_is_kept_of_who_has_gone() {
        let signals = Signals::default();
        let one = signals.watch(WorkspaceId(Uuid::nil()), "a");
        let two = signals.watch(WorkspaceId(Uuid::nil()), "a");
        drop(one);
        assert_eq!(signals.watched.lock().unwrap().len(), 1);
        drop(two);
        assert!(signals.watched.lock().unwrap().is_empty());
    }
}
