//! Removing what is over: ended tasks after a while or when they take too much room, and stubs and
//! code that nobody uses.

mod room;

use std::pin::pin;
use std::time::{Duration, Instant};

use metal9_store::{StoreError, UnixMicros};

use crate::shared::{Shared, SharedRef};
use crate::timestamps::now;
use crate::volumes;

/// The longest time between two rounds.
const ROUND: Duration = Duration::from_secs(600);

/// Between two times that room is made because somebody wants it …
const AGAIN: Duration = Duration::from_secs(1);
/// … and where there was nothing to remove.
const IN_VAIN: Duration = Duration::from_secs(3);

/// Tasks removed at a time, so that calls do not wait long for the database.
const BATCH: u32 = 200;

/// Removes what is over, round by round and whenever somebody wants room, until the gateway stops.
pub(crate) fn start(shared: SharedRef) {
    metal9_tasks::spawn_infallible("retention", async move {
        let keep = shared.options.keep_ended();
        let pause = (keep / 10).clamp(Duration::from_secs(1), ROUND);
        loop {
            tell(round(&shared).await);
            shared.uploads.tidy(Instant::now());
            if let Err(error) = volumes::tidy(&shared).await {
                tracing::warn!(%error, "could not remove what is over of volumes");
            }
            make_room(&shared, Instant::now() + pause).await;
            if shared.shutdown.is_cancelled() {
                return;
            }
        }
    });
}

/// Makes room whenever somebody wants some, until it is time for the next round.
async fn make_room(shared: &Shared, until: Instant) {
    let over = async |waiting: &mut (dyn Future<Output = ()> + Send + Unpin)| {
        tokio::select! {
            () = waiting => false,
            () = tokio::time::sleep_until(until.into()) => true,
            () = shared.shutdown.cancelled() => true,
        }
    };
    while !over(&mut pin!(shared.disk.room_wanted())).await {
        let began = Instant::now();
        let mut removed = Removed::default();
        let made = async {
            room::on_disk(shared, &mut removed).await?;
            room::for_stubs(shared, &mut removed).await
        };
        let made = made.await;
        let least = if removed == Removed::default() { IN_VAIN } else { AGAIN };
        tell(made.map(|()| removed));
        // Looking through very much takes a small part of the time.
        let pause = least.max(began.elapsed() * 10);
        if over(&mut pin!(tokio::time::sleep(pause))).await {
            return;
        }
    }
}

fn tell(removed: Result<Removed, StoreError>) {
    match removed {
        Ok(removed) if removed == Removed::default() => {}
        Ok(removed) => tracing::info!(
            tasks = removed.tasks,
            stubs = removed.unused.stubs,
            objects = removed.unused.objects,
            images = removed.unused.images,
            values = removed.values,
            "removed what was over"
        ),
        // The gateway is stopping.
        Err(StoreError::Closed) => {}
        Err(error) => tracing::warn!(%error, "could not remove what is over"),
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Removed {
    tasks: usize,
    values: u64,
    unused: metal9_store::Unused,
}

fn ago(age: Duration) -> UnixMicros {
    now() - i64::try_from(age.as_micros()).unwrap_or(i64::MAX)
}

async fn round(shared: &Shared) -> Result<Removed, StoreError> {
    let (store, options) = (&shared.store, &shared.options);
    let mut removed = Removed::default();
    for workspace in store.workspaces().await? {
        let before = ago(options.keep_ended());
        loop {
            let tasks = store.forget_ended(workspace.id, before, BATCH).await?.count;
            let served = store.forget_served(workspace.id, before, BATCH).await?.count;
            removed.tasks += tasks;
            if tasks + served == 0 || shared.shutdown.is_cancelled() {
                break;
            }
        }
    }
    room::within_budget(shared, &mut removed).await?;
    room::on_disk(shared, &mut removed).await?;
    loop {
        let count = store.forget_expired(BATCH).await?;
        removed.values += count;
        if count == 0 || shared.shutdown.is_cancelled() {
            break;
        }
    }
    room::for_stubs(shared, &mut removed).await?;
    let unused = store.forget_unused(ago(options.keep_unused())).await?;
    let stubs = removed.unused.stubs + unused.stubs;
    removed.unused = metal9_store::Unused { stubs, ..unused };
    Ok(removed)
}
