//! How long, how often, and how long kept.

use super::refuse;
use crate::error::ApiError;

/// Seconds a call may run where the client does not say: the SDK's own default.
pub(crate) const DEFAULT_TIMEOUT: u64 = 3600;
/// Seconds a call may wait to be begun where the client does not say.
pub(crate) const DEFAULT_TTL: u64 = 12 * 3600;
/// The longest time that can be asked for, in seconds: a year.
pub(crate) const MAX_SECONDS: u64 = 366 * 24 * 3600;
/// Further attempts at most.
pub(crate) const MAX_RETRIES: u32 = 100;
/// Seconds an idle container may be kept.
pub(crate) const MAX_KEEP_WARM_SECONDS: f32 = 86_400.0;

/// −1 means no limit, and 0 that the client did not say.
pub(crate) fn timeout(seconds: i64) -> Result<Option<u64>, ApiError> {
    match seconds {
        -1 => Ok(None),
        0 => Ok(Some(DEFAULT_TIMEOUT)),
        _ => match u64::try_from(seconds) {
            Ok(seconds) if seconds <= MAX_SECONDS => Ok(Some(seconds)),
            _ => Err(refuse(
                format!("a timeout of {seconds} s is not between 1 and {MAX_SECONDS} s"),
                "use `timeout=-1` for a call that may run for as long as it takes",
            )),
        },
    }
}

/// Seconds a task may wait; 0 means that the client did not say.
pub(crate) fn ttl(seconds: u32) -> Result<u64, ApiError> {
    match u64::from(seconds) {
        0 => Ok(DEFAULT_TTL),
        seconds if seconds <= MAX_SECONDS => Ok(seconds),
        seconds => Err(refuse(
            format!("a time to live of {seconds} s is more than the limit of {MAX_SECONDS} s"),
            "choose how long a call is worth beginning, as `TaskPolicy(ttl=86400)`",
        )),
    }
}

/// Further attempts.
pub(crate) fn retries(count: u32) -> Result<u32, ApiError> {
    if count <= MAX_RETRIES {
        return Ok(count);
    }
    Err(refuse(
        format!("{count} retries are more than the limit of {MAX_RETRIES}"),
        "a call that fails that often needs a look: ask for fewer `retries`",
    ))
}

/// Seconds an idle container is kept; nothing where the client does not say (the SDK sends 0 or a
/// negative number then).
pub(crate) fn keep_warm(seconds: f32) -> Result<Option<f32>, ApiError> {
    if seconds.is_nan() || seconds > MAX_KEEP_WARM_SECONDS {
        return Err(refuse(
            format!("keep_warm_seconds of {seconds} is not between 0 and {MAX_KEEP_WARM_SECONDS}"),
            "a container is needed again within a day, or it is cheaper to start another",
        ));
    }
    Ok((seconds > 0.0).then_some(seconds))
}
