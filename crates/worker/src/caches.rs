//! Keeping environments and code within their disk budget, and the disk from filling up.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, interval};

use crate::container::{Makings, Tools};
use crate::errors::chain;
use crate::options::Options;

const MIB: u64 = 1024 * 1024;

/// How often the free room of the disk is looked at.
const LOOK: Duration = Duration::from_secs(60);

/// Room that is left to everything else on the disk.
const RESERVE: u64 = 1024 * MIB;

/// The part of the budget that is code, and as much again files of volumes: a tenth each.
const CODE_PART: u64 = 10;

/// Keeps the caches below their budget until the worker ends.
pub(crate) fn start(tools: Arc<Tools>, options: &Options) {
    let budget = options.cache_mib.saturating_mul(MIB);
    let (state_dir, check) = (options.state_dir.clone(), options.cache_check);
    metal9_tasks::spawn_infallible("caches", async move {
        // A pause of nothing would be no pause.
        let mut looks = interval(LOOK.min(check).max(Duration::from_secs(1)));
        let mut measured: Option<Instant> = None;
        loop {
            looks.tick().await;
            let Some(makings) = tools.workshop.makings() else { return };
            let missing = RESERVE.saturating_sub(free(&state_dir).unwrap_or(RESERVE));
            let due = measured.is_none_or(|at| at.elapsed() >= check);
            if missing > 0 || due {
                collect(makings, budget, missing).await;
                measured = Some(Instant::now());
            }
        }
    });
}

/// Bytes that may be written on a directory's disk, so that others still have room there.
pub(crate) fn room(directory: &Path) -> Option<u64> {
    free(directory).map(|free| free.saturating_sub(RESERVE))
}

/// Bytes that are free on a directory's disk.
fn free(directory: &Path) -> Option<u64> {
    let facts = nix::sys::statvfs::statvfs(directory).ok()?;
    Some(wide(facts.blocks_available()) * wide(facts.fragment_size()))
}

/// The numbers have different sizes on different systems.
fn wide(number: impl Into<u64>) -> u64 {
    number.into()
}

async fn collect(makings: &Makings, budget: u64, missing: u64) {
    let code = budget / CODE_PART;
    match makings.code.collect(code).await {
        Ok(0) => {}
        Ok(removed) => tracing::info!(removed, "removed code that was not used for long"),
        Err(error) => tracing::warn!(error = chain(&error), "could not remove unused code"),
    }
    match makings.blobs.collect(code).await {
        Ok(0) => {}
        Ok(removed) => {
            tracing::info!(removed, "removed files of volumes that were not used for long")
        }
        Err(error) => tracing::warn!(%error, "could not remove unused files of volumes"),
    }
    if let Some(roots) = &makings.roots {
        match roots.collect().await {
            Ok(collected) if collected.layers > 0 || collected.storage => {
                tracing::info!(?collected, "removed images that were not used for long");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = chain(&error), "could not remove images"),
        }
    }
    let environments =
        allowed(budget.saturating_sub(2 * code), missing, makings.environments.disk_bytes().await);
    match makings.environments.collect(environments).await {
        Ok(collected) if collected.cache || collected.environments > 0 => {
            tracing::info!(
                environments = collected.environments,
                package_cache = collected.cache,
                "made room on the disk"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(error = chain(&error), "could not remove environments"),
    }
}

/// Removes what is in a cache, the one not used for longest first, until the rest takes no more than
/// `budget` bytes. `cached` is when each was last used, its bytes and its path. `remove` says `false`
/// of what it leaves, as it is in use. Returns how many were removed.
///
/// # Errors
/// When one cannot be removed.
pub(crate) fn shrink(
    mut cached: Vec<(SystemTime, u64, PathBuf)>,
    budget: u64,
    mut remove: impl FnMut(&Path) -> io::Result<bool>,
) -> io::Result<usize> {
    cached.sort_unstable();
    let mut total: u64 = cached.iter().map(|(_, size, _)| size).sum();
    let mut removed = 0;
    for (_, size, path) in cached {
        if total <= budget {
            break;
        }
        if remove(&path)? {
            total -= size;
            removed += 1;
        }
    }
    Ok(removed)
}

/// What environments may take: their budget, less what is missing on the disk.
fn allowed(budget: u64, missing: u64, used: u64) -> u64 {
    if missing == 0 { budget } else { budget.min(used.saturating_sub(missing)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fills_up_makes_the_budget_smaller() {
        assert_eq!(allowed(1000, 0, 5000), 1000);
        assert_eq!(allowed(1000, 300, 900), 600);
        assert_eq!(allowed(1000, 300, 5000), 1000);
        assert_eq!(allowed(1000, 2000, 900), 0);
    }

    #[test]
    fn the_free_room_of_a_disk_is_known() {
        assert!(free(Path::new("/")).is_some());
        assert_eq!(free(Path::new("/nowhere")), None);
    }
}
