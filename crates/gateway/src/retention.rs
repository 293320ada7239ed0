//! Removing what is over: ended tasks after a while or when they take too much room, and stubs and
//! code that nobody uses.

use std::time::{Duration, Instant};

use metal9_store::StoreError;

use crate::shared::{Shared, SharedRef};
use crate::timestamps::now;
use crate::volumes;

/// The longest time between two rounds.
const ROUND: Duration = Duration::from_secs(600);

/// Tasks removed at a time, so that calls do not wait long for the database.
const BATCH: u32 = 200;

/// Removes what is over, round by round, until the gateway stops.
pub(crate) fn start(shared: SharedRef) {
    metal9_tasks::spawn_infallible("retention", async move {
        let keep = shared.options.keep_ended();
        let pause = (keep / 10).clamp(Duration::from_secs(1), ROUND);
        loop {
            match round(&shared).await {
                Ok(removed) if removed == Removed::default() => {}
                Ok(removed) => tracing::info!(
                    tasks = removed.tasks,
                    stubs = removed.unused.stubs,
                    objects = removed.unused.objects,
                    images = removed.unused.images,
                    values = removed.values,
                    "removed what was over"
                ),
                Err(StoreError::Closed) => return,
                Err(error) => tracing::warn!(%error, "could not remove what is over"),
            }
            shared.uploads.tidy(Instant::now());
            if let Err(error) = volumes::tidy(&shared).await {
                tracing::warn!(%error, "could not remove what is over of volumes");
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shared.shutdown.cancelled() => return,
            }
        }
    });
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Removed {
    tasks: usize,
    values: u64,
    unused: metal9_store::Unused,
}

async fn round(shared: &Shared) -> Result<Removed, StoreError> {
    let (store, options) = (&shared.store, &shared.options);
    let mut removed = Removed::default();
    let ago = |age: Duration| now() - i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    loop {
        let count = store.forget_ended(ago(options.keep_ended()), BATCH).await?.tasks;
        removed.tasks += count;
        if count == 0 || shared.shutdown.is_cancelled() {
            break;
        }
    }
    let budget = options.keep_ended_mib.saturating_mul(1024 * 1024);
    let at_least = options.keep_ended_at_least().min(options.keep_ended());
    let mut logs = store.log_bytes().await?;
    while store.kept_bytes().await? + logs > budget && !shared.shutdown.is_cancelled() {
        let forgotten = store.forget_ended(ago(at_least), BATCH).await?;
        let served = store.forget_served(ago(at_least), BATCH).await?;
        removed.tasks += forgotten.tasks;
        logs = match served {
            0 => logs.saturating_sub(forgotten.log_bytes),
            _ => store.log_bytes().await?,
        };
        if forgotten.tasks + served == 0 {
            break;
        }
    }
    while store.forget_served(ago(options.keep_ended()), BATCH).await? > 0 {
        if shared.shutdown.is_cancelled() {
            break;
        }
    }
    loop {
        let count = store.forget_expired(BATCH).await?;
        removed.values += count;
        if count == 0 || shared.shutdown.is_cancelled() {
            break;
        }
    }
    removed.unused = store.forget_unused(ago(options.keep_unused())).await?;
    Ok(removed)
}
