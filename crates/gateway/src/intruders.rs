//! Those who do not get in: counted for the audit log, and slowed down where they guess.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Addresses that are told apart; those beyond are counted together.
const ADDRESSES: usize = 1024;
/// What stands for the addresses beyond.
const OTHERS: &str = "others";
/// Refused joins that an address may have at once.
const BURST: u32 = 10;
/// How quickly they are forgiven.
const FORGIVEN_EVERY: Duration = Duration::from_secs(6);

/// Failures of one address with one kind of credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failures {
    /// The address.
    pub(crate) peer: String,
    /// `token`, `worker` or `join`.
    pub(crate) what: &'static str,
    /// How many.
    pub(crate) count: i64,
}

/// Who failed to get in since the log was last written.
#[derive(Debug, Default)]
pub(crate) struct Intruders {
    failed: Mutex<HashMap<(String, &'static str), i64>>,
}

impl Intruders {
    /// Counts a failure.
    pub(crate) fn note(&self, peer: &str, what: &'static str) {
        ::metrics::counter!(crate::metrics::AUTH_FAILURES, "what" => what).increment(1);
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (peer.to_owned(), what);
        if failed.len() >= ADDRESSES && !failed.contains_key(&key) {
            key.0 = OTHERS.to_owned();
        }
        *failed.entry(key).or_default() += 1;
    }

    /// What was counted; counting begins anew.
    pub(crate) fn take(&self) -> Vec<Failures> {
        let failed =
            std::mem::take(&mut *self.failed.lock().unwrap_or_else(PoisonError::into_inner));
        let mut failed: Vec<_> = failed
            .into_iter()
            .map(|((peer, what), count)| Failures { peer, what, count })
            .collect();
        failed.sort_by(|a, b| (&a.peer, a.what).cmp(&(&b.peer, b.what)));
        failed
    }
}

/// Limits how often an address may fail to join. Those who get in are not counted: a whole rack
/// may come from one address.
#[derive(Debug, Default)]
pub(crate) struct JoinLimit {
    owing: Mutex<HashMap<String, (u32, Instant)>>,
}

impl JoinLimit {
    /// `false` if the address has failed too often lately.
    pub(crate) fn allows(&self, peer: &str, now: Instant) -> bool {
        let mut owing = self.owing.lock().unwrap_or_else(PoisonError::into_inner);
        forgive(&mut owing, now);
        let key = if owing.len() >= ADDRESSES && !owing.contains_key(peer) { OTHERS } else { peer };
        owing.get(key).is_none_or(|(failures, _)| *failures < BURST)
    }

    /// The address failed.
    pub(crate) fn failed(&self, peer: &str, now: Instant) {
        let mut owing = self.owing.lock().unwrap_or_else(PoisonError::into_inner);
        let key = if owing.len() >= ADDRESSES && !owing.contains_key(peer) { OTHERS } else { peer };
        let entry = owing.entry(key.to_owned()).or_insert((0, now));
        entry.0 = entry.0.saturating_add(1);
    }
}

fn forgive(owing: &mut HashMap<String, (u32, Instant)>, now: Instant) {
    owing.retain(|_, (failures, since)| {
        let passed = now.saturating_duration_since(*since).as_secs() / FORGIVEN_EVERY.as_secs();
        let forgiven = u32::try_from(passed).unwrap_or(u32::MAX);
        *failures = failures.saturating_sub(forgiven);
        *since += FORGIVEN_EVERY * forgiven;
        *failures > 0
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_fails_too_often_waits_and_is_forgiven() {
        let (limit, now) = (JoinLimit::default(), Instant::now());
        for _ in 0..BURST {
            assert!(limit.allows("a", now));
            limit.failed("a", now);
        }
        assert!(!limit.allows("a", now));
        assert!(limit.allows("b", now), "others do not suffer");
        assert!(limit.allows("a", now + FORGIVEN_EVERY));
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory() {
        let (intruders, limit, now) = (Intruders::default(), JoinLimit::default(), Instant::now());
        for number in 0..3 * ADDRESSES {
            intruders.note(&number.to_string(), "token");
            limit.failed(&number.to_string(), now);
        }
        assert!(limit.owing.lock().unwrap().len() <= ADDRESSES + 1);
        let failures = intruders.take();
        assert_eq!(failures.len(), ADDRESSES + 1);
        assert_eq!(failures.iter().map(|f| f.count).sum::<i64>(), 3 * ADDRESSES as i64);
        assert!(intruders.take().is_empty());
    }
}
