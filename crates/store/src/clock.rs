//! The one place of this crate that reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::UnixMicros;

/// The time; 0 on a machine whose clock stands before 1970.
pub(crate) fn now() -> UnixMicros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A new id (UUID version 7), so that ids made later sort later.
pub(crate) fn new_uuid() -> Uuid {
    let millis = u64::try_from(now() / 1000).unwrap_or(0);
    let mut random = [0; 10];
    rand::fill(&mut random);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}
