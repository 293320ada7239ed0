//! Keeping environments, code, files of volumes and images within their disk budgets, and the disk
//! from filling up.

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
    let part = budget / CODE_PART;
    let [code, blobs, roots, environments] = budgets(makings, budget, part, missing).await;
    match makings.code.collect(code).await {
        Ok(0) => {}
        Ok(removed) => tracing::info!(removed, "removed code that was not used for long"),
        Err(error) => tracing::warn!(error = chain(&error), "could not remove unused code"),
    }
    match makings.blobs.collect(blobs).await {
        Ok(0) => {}
        Ok(removed) => {
            tracing::info!(removed, "removed files of volumes that were not used for long")
        }
        Err(error) => tracing::warn!(%error, "could not remove unused files of volumes"),
    }
    if let Some(cache) = &makings.roots {
        match cache.collect(roots).await {
            Ok(collected) if collected.layers > 0 || collected.storage => {
                tracing::info!(?collected, "removed images that were not used for long");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = chain(&error), "could not remove images"),
        }
    }
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

/// What code, files of volumes, images and environments may take. Images have a budget of their own,
/// which they keep by themselves.
async fn budgets(makings: &Makings, budget: u64, part: u64, missing: u64) -> [u64; 4] {
    let budgets = [part, part, u64::MAX, budget.saturating_sub(2 * part)];
    if missing == 0 {
        return budgets;
    }
    let roots = match &makings.roots {
        Some(roots) => roots.disk_bytes().await,
        None => 0,
    };
    let used = [
        makings.code.disk_bytes().await,
        makings.blobs.disk_bytes().await,
        roots,
        makings.environments.disk_bytes().await,
    ];
    allowed(budgets, used, missing)
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

/// What each cache may take: its budget, and less where something is missing on the disk. That is taken
/// from all of them, in proportion to what they have; what is in use stays nevertheless, and the rest
/// is taken at the next look.
fn allowed<const CACHES: usize>(
    budgets: [u64; CACHES],
    used: [u64; CACHES],
    missing: u64,
) -> [u64; CACHES] {
    let all: u128 = used.iter().map(|used| u128::from(*used)).sum();
    let mut allowed = budgets;
    for (allowed, used) in allowed.iter_mut().zip(used) {
        if missing > 0 && all > 0 {
            let part = (u128::from(missing) * u128::from(used)).div_ceil(all);
            let part = u64::try_from(part).unwrap_or(u64::MAX);
            *allowed = (*allowed).min(used.saturating_sub(part));
        }
    }
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fills_up_makes_the_budget_smaller() {
        assert_eq!(allowed([1000], [5000], 0), [1000]);
        assert_eq!(allowed([1000], [900], 300), [600]);
        assert_eq!(allowed([1000], [5000], 300), [1000]);
        assert_eq!(allowed([1000], [900], 2000), [0]);
    }

    #[test]
    fn what_is_missing_is_taken_from_all_caches_by_what_they_have() {
        assert_eq!(allowed([1000; 4], [600, 300, 100, 0], 100), [540, 270, 90, 0]);
        assert_eq!(
            allowed([1000; 3], [0, 0, 500], 200),
            [0, 0, 300],
            "who has nothing gives nothing"
        );
        assert_eq!(allowed([50, 1000], [500, 500], 100), [50, 450], "a budget holds all the same");
        assert_eq!(allowed([7, 8], [0, 0], 100), [7, 8]);
        let [one, other, third] = allowed([u64::MAX; 3], [10, 10, 10], 7);
        assert!(30 - one - other - third >= 7, "no less than is missing");
        assert_eq!(allowed([u64::MAX], [u64::MAX], u64::MAX), [0]);
    }

    #[test]
    fn the_free_room_of_a_disk_is_known() {
        assert!(free(Path::new("/")).is_some());
        assert_eq!(free(Path::new("/nowhere")), None);
    }
}
