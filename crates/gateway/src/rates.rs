//! How often a workspace may ask for something.
//!
//! Most have no limit and no entry here. One that has may use a second's worth at once; then its
//! requests are let in one by one as time passes. What is counted is requests over gRPC and HTTP
//! that show a token of the workspace or reach a public stub of it; a stream counts once.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use metal9_types::WorkspaceId;

use crate::error::ApiError;

/// A workspace's limit.
#[derive(Debug)]
struct Limit {
    per_second: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
}

/// The workspaces that have a limit.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    limits: RwLock<HashMap<WorkspaceId, Arc<Limit>>>,
}

impl Rates {
    /// Sets a workspace's limit; nothing, or zero, for none.
    pub(crate) fn set(&self, workspace: WorkspaceId, per_second: Option<u64>) {
        let per_second = per_second.and_then(|most| NonZeroU32::new(clamp(most)));
        let mut limits = self.limits.write().unwrap_or_else(PoisonError::into_inner);
        match per_second {
            None => drop(limits.remove(&workspace)),
            // What was used up stays so where nothing has changed.
            Some(same) if limits.get(&workspace).is_some_and(|it| it.per_second == same) => {}
            Some(per_second) => {
                let limiter = RateLimiter::direct(Quota::per_second(per_second));
                limits.insert(workspace, Arc::new(Limit { per_second, limiter }));
            }
        }
    }

    /// Counts a request of a workspace, or refuses it.
    pub(crate) fn admit(&self, workspace: WorkspaceId) -> Result<(), ApiError> {
        let limits = self.limits.read().unwrap_or_else(PoisonError::into_inner);
        let Some(limit) = limits.get(&workspace).map(Arc::clone) else { return Ok(()) };
        drop(limits);
        limit.limiter.check().map_err(|early| {
            let most = limit.per_second;
            ::metrics::counter!(crate::metrics::REQUESTS_LIMITED).increment(1);
            ApiError::Exhausted {
                text: format!(
                    "this workspace may make {most} requests a second, and made more\n\
                     hint: make fewer, or have `metal9 workspace limit --max-rate` allow more"
                ),
                retry_after: whole_seconds(early.wait_time_from(DefaultClock::default().now())),
            }
        })
    }
}

fn clamp(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// What a client is told, which reads whole seconds and must not come too early.
fn whole_seconds(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const OURS: WorkspaceId = WorkspaceId(Uuid::from_u128(1));
    const OTHER: WorkspaceId = WorkspaceId(Uuid::from_u128(2));

    #[test]
    fn a_second_s_worth_is_let_in_at_once_and_no_more() {
        let rates = Rates::default();
        rates.set(OURS, Some(3));
        let let_in = (0..10).filter(|_| rates.admit(OURS).is_ok()).count();
        assert_eq!(let_in, 3);
        let refused = rates.admit(OURS).unwrap_err();
        assert_eq!(refused.retry_after(), Some(Duration::from_secs(1)));
        assert!(refused.to_string().contains("3 requests a second"), "{refused}");
        assert!(rates.admit(OTHER).is_ok());
    }

    #[test]
    fn saying_the_same_again_forgives_nothing_and_taking_it_away_ends_it() {
        let rates = Rates::default();
        rates.set(OURS, Some(1));
        assert!(rates.admit(OURS).is_ok());
        rates.set(OURS, Some(1));
        assert!(rates.admit(OURS).is_err());
        rates.set(OURS, None);
        assert!((0..100).all(|_| rates.admit(OURS).is_ok()));
    }

    #[test]
    fn waits_are_told_in_whole_seconds_and_never_too_short() {
        let told = |millis| whole_seconds(Duration::from_millis(millis)).as_secs();
        assert_eq!([told(0), told(1), told(1000), told(1001)], [0, 1, 1, 2]);
    }
}
