//! Wall-clock time on the wire.

use std::time::{SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

/// Microseconds since 1970.
pub(crate) type UnixMicros = i64;

/// Now.
pub(crate) fn now() -> UnixMicros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A time as the client API wants it.
pub(crate) fn to_proto(micros: UnixMicros) -> Timestamp {
    Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0),
    }
}

/// A time that may be missing. The SDK prints an absent time as 1970, and a blank only for the
/// year 1.
pub(crate) fn to_proto_or_blank(micros: Option<UnixMicros>) -> Timestamp {
    micros.map_or(Timestamp { seconds: -62_135_596_800, nanos: 0 }, to_proto)
}

/// RFC 3339 in UTC, as the REST API wants it.
pub(crate) fn to_rfc3339(micros: UnixMicros) -> String {
    to_proto(micros).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_utc() {
        assert_eq!(to_rfc3339(1_700_000_000_250_000), "2023-11-14T22:13:20.250Z");
        assert_eq!(to_proto_or_blank(None).to_string(), "0001-01-01T00:00:00Z");
    }
}
