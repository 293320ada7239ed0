//! Arguments of accepted calls that wait for a worker, so that the hot path does not read back
//! from the store what it just wrote.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use metal9_types::TaskId;

/// Larger arguments are read from the store.
const MAX_ENTRY_BYTES: usize = 256 * 1024;
/// All entries together; what does not fit is read from the store.
const MAX_TOTAL_BYTES: usize = 128 * 1024 * 1024;

/// A bounded cache; losing an entry costs a read.
#[derive(Debug, Default)]
pub(crate) struct ArgumentCache {
    inner: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_task: HashMap<TaskId, Bytes>,
    total: usize,
}

impl ArgumentCache {
    /// Keeps a task's arguments if there is room.
    pub(crate) fn put(&self, task: TaskId, arguments: &Bytes) {
        if arguments.len() > MAX_ENTRY_BYTES {
            return;
        }
        let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if inner.total + arguments.len() <= MAX_TOTAL_BYTES
            && inner.by_task.insert(task, arguments.clone()).is_none()
        {
            inner.total += arguments.len();
        }
    }

    /// Takes a task's arguments out; a retry reads them from the store.
    pub(crate) fn take(&self, task: TaskId) -> Option<Bytes> {
        let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let bytes = inner.by_task.remove(&task)?;
        inner.total -= bytes.len();
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_cache_gives_back_what_it_kept_and_keeps_nothing_large() {
        let cache = ArgumentCache::default();
        let (small, large) = (TaskId(Uuid::from_u128(1)), TaskId(Uuid::from_u128(2)));
        cache.put(small, &Bytes::from_static(b"abc"));
        cache.put(large, &Bytes::from(vec![0; MAX_ENTRY_BYTES + 1]));
        assert_eq!(cache.take(small).as_deref(), Some(&b"abc"[..]));
        assert_eq!(cache.take(small), None);
        assert_eq!(cache.take(large), None);
        assert_eq!(cache.inner.lock().unwrap().total, 0);
    }
}
