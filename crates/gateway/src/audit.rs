//! Keeping the audit log: failures to get in are written now and then, old lines taken away.

use std::time::Duration;

use metal9_store::{Actor, StoreError};

use crate::shared::SharedRef;

/// How often failures to get in are written: one line per address and kind.
const WRITE_EVERY: Duration = Duration::from_secs(5);
/// How often old lines are taken away, in the same steps.
const TRIM_EVERY: u32 = 120;
const DAY: Duration = Duration::from_hours(24);

/// Runs until the gateway stops.
pub(crate) async fn keep(shared: SharedRef) {
    let mut ticks = tokio::time::interval(WRITE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut count: u32 = 0;
    loop {
        tokio::select! {
            () = shared.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = step(&shared, count.is_multiple_of(TRIM_EVERY)).await {
            let error = crate::error::causes(&error);
            tracing::warn!(error, "the audit log cannot be kept");
        }
        count = count.wrapping_add(1);
    }
}

async fn step(shared: &SharedRef, trim: bool) -> Result<(), StoreError> {
    for failures in shared.intruders.take() {
        let entry = Actor::nobody(&failures.peer).did("auth.fail", failures.what);
        shared.store.audit(entry.refused(failures.count)).await?;
    }
    if trim {
        let options = &shared.options;
        let age = DAY.saturating_mul(u32::try_from(options.audit_days).unwrap_or(u32::MAX));
        shared.store.trim_audit(age, options.audit_rows).await?;
    }
    Ok(())
}
