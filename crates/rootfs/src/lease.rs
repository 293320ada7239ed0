//! Keeping layers while somebody uses them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::digest::Digest;

/// How many leases each layer has.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<HashMap<Digest, usize>>);

impl Held {
    /// Keeps layers, whether they are there already or not.
    pub(crate) fn hold(self: &Arc<Self>, layers: &[Digest]) -> Lease {
        let mut counts = self.counts();
        for layer in layers {
            *counts.entry(layer.clone()).or_default() += 1;
        }
        drop(counts);
        Lease { _hold: Arc::new(Hold { held: Arc::clone(self), layers: layers.to_vec() }) }
    }

    /// Does something that no lease may be taken or given back in the middle of.
    pub(crate) fn while_still<T>(&self, work: impl FnOnce(&HashMap<Digest, usize>) -> T) -> T {
        work(&self.counts())
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the layers of an image from being removed for as long as it, or a clone of it, is there.
#[derive(Clone)]
pub struct Lease {
    _hold: Arc<Hold>,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lease")
    }
}

struct Hold {
    held: Arc<Held>,
    layers: Vec<Digest>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut counts = self.held.counts();
        for layer in &self.layers {
            if let Some(count) = counts.get_mut(layer) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(layer);
                }
            }
        }
    }
}

/// One at a time for each name.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    pub(crate) async fn wait(&self, name: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let turn = turns.get(name).and_then(Weak::upgrade).unwrap_or_default();
            turns.insert(name.to_owned(), Arc::downgrade(&turn));
            turn
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_held_until_the_last_lease_is_gone() {
        let held = Arc::new(Held::default());
        let layer = Digest::of(b"layer");
        let count = || held.while_still(|counts| counts.get(&layer).copied());
        let one = held.hold(std::slice::from_ref(&layer));
        let two = held.hold(&[layer.clone(), layer.clone()]);
        let three = two.clone();
        assert_eq!(count(), Some(3));
        drop(two);
        assert_eq!(count(), Some(3));
        drop(three);
        assert_eq!(count(), Some(1));
        drop(one);
        assert_eq!(count(), None);
    }

    #[tokio::test]
    async fn one_has_its_turn_at_a_time_for_each_name() {
        let turns = Turns::default();
        let first = turns.wait("a").await;
        let _other = turns.wait("b").await;
        let mut second = Box::pin(turns.wait("a"));
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        second.await;
    }
}
