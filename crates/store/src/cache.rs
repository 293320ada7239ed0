//! A bounded memory of what was read from the database.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Entries kept at most; a full cache starts over.
const LIMIT: usize = 8192;

/// Bytes of what was read that are kept at most, for a cache starts over as well when it has more. In
/// memory they take about twice that.
const LIMIT_BYTES: usize = 16 * 1024 * 1024;

/// What was read lately, by key.
pub(crate) struct Cache<K, V>(Mutex<Entries<K, V>>);

struct Entries<K, V> {
    generation: u64,
    by_key: HashMap<K, (V, usize)>,
    bytes: usize,
}

/// A miss. What is then read from the database is remembered only if nothing was forgotten since,
/// so that a slow reader cannot bring back what a change has made wrong.
#[derive(Clone, Copy)]
pub(crate) struct Miss(u64);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Entries { generation: 0, by_key: HashMap::new(), bytes: 0 }))
    }
}

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    fn with<T>(&self, work: impl FnOnce(&mut Entries<K, V>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn get(&self, key: &K) -> Result<V, Miss> {
        self.with(|entries| match entries.by_key.get(key) {
            Some((value, _)) => Ok(value.clone()),
            None => Err(Miss(entries.generation)),
        })
    }

    /// Remembers what was missing; `bytes` is about what it takes.
    pub(crate) fn remember(&self, miss: Miss, key: K, value: V, bytes: usize) {
        self.with(|entries| {
            if entries.generation != miss.0 {
                return;
            }
            if bytes > LIMIT_BYTES {
                return;
            }
            if entries.by_key.len() >= LIMIT || entries.bytes + bytes > LIMIT_BYTES {
                entries.by_key.clear();
                entries.bytes = 0;
            }
            entries.bytes += bytes;
            if let Some((_, before)) = entries.by_key.insert(key, (value, bytes)) {
                entries.bytes -= before;
            }
        });
    }

    /// Forgets the entries for which `wrong` says so. To be called after the change is on disk.
    pub(crate) fn forget(&self, wrong: impl Fn(&K, &V) -> bool) {
        self.with(|entries| {
            entries.generation += 1;
            entries.by_key.retain(|key, (value, _)| !wrong(key, value));
            entries.bytes = entries.by_key.values().map(|(_, bytes)| bytes).sum();
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
        cache.remember(miss, 1, "old", 3);
        let miss = cache.get(&1).unwrap_err();
        cache.remember(miss, 1, "new", 3);
        assert!(matches!(cache.get(&1), Ok("new")));
    }

    #[test]
    fn a_full_cache_starts_over() {
        let cache = Cache::<usize, ()>::default();
        let miss = cache.get(&0).unwrap_err();
        for key in 0..=LIMIT {
            cache.remember(miss, key, (), 0);
        }
        assert!(cache.get(&0).is_err());
        assert!(cache.get(&LIMIT).is_ok());
    }
    #[test]
    fn a_cache_holds_no_more_bytes_than_it_may() {
        let cache = Cache::<usize, ()>::default();
        let miss = cache.get(&0).unwrap_err();
        let part = LIMIT_BYTES / 16;
        for key in 0..100 {
            cache.remember(miss, key, (), part);
            cache.with(|entries| {
                assert_eq!(entries.bytes, entries.by_key.len() * part);
                assert!(entries.bytes <= LIMIT_BYTES);
            });
        }
        assert!(cache.get(&99).is_ok());
        cache.remember(miss, 99, (), 1);
        cache.remember(miss, 100, (), LIMIT_BYTES + 1);
        assert!(cache.get(&100).is_err(), "one that is larger than all may be is not kept");
        cache.forget(|key, ()| *key != 99);
        cache.with(|entries| assert_eq!(entries.bytes, 1, "what was replaced counts no more"));
    }
}
