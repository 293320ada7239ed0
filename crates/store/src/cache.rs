//! A bounded memory of what was read from the database.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Entries kept at most; a full cache starts over.
const LIMIT: usize = 8192;

/// What was read lately, by key.
pub(crate) struct Cache<K, V>(Mutex<Entries<K, V>>);

struct Entries<K, V> {
    generation: u64,
    by_key: HashMap<K, V>,
}

/// A miss. What is then read from the database is remembered only if nothing was forgotten since,
/// so that a slow reader cannot bring back what a change has made wrong.
#[derive(Clone, Copy)]
pub(crate) struct Miss(u64);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Entries { generation: 0, by_key: HashMap::new() }))
    }
}

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    fn with<T>(&self, work: impl FnOnce(&mut Entries<K, V>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn get(&self, key: &K) -> Result<V, Miss> {
        self.with(|entries| entries.by_key.get(key).cloned().ok_or(Miss(entries.generation)))
    }

    pub(crate) fn remember(&self, miss: Miss, key: K, value: V) {
        self.with(|entries| {
            if entries.generation != miss.0 {
                return;
            }
            if entries.by_key.len() >= LIMIT {
                entries.by_key.clear();
            }
            entries.by_key.insert(key, value);
        });
    }

    /// Forgets the entries for which `wrong` says so. To be called after the change is on disk.
    pub(crate) fn forget(&self, wrong: impl Fn(&K, &V) -> bool) {
        self.with(|entries| {
            entries.generation += 1;
            entries.by_key.retain(|key, value| !wrong(key, value));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_a_change_is_not_remembered() {
        let cache = Cache::<u8, &str>::default();
        let miss = cache.get(&1).unwrap_err();
        cache.forget(|key, _| *key == 1);
        cache.remember(miss, 1, "old");
        let miss = cache.get(&1).unwrap_err();
        cache.remember(miss, 1, "new");
        assert!(matches!(cache.get(&1), Ok("new")));
    }

    #[test]
    fn a_full_cache_starts_over() {
        let cache = Cache::<usize, ()>::default();
        let miss = cache.get(&0).unwrap_err();
        for key in 0..=LIMIT {
            cache.remember(miss, key, ());
        }
        assert!(cache.get(&0).is_err());
        assert!(cache.get(&LIMIT).is_ok());
    }
}
