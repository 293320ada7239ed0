//! Keeping the cache within its budget.
//!
//! What only makes other things quicker goes first: buildah's storage, and what has come of layers
//! that nobody is fetching. Then images go, the one not used for longest first, and the layers that
//! no other image has.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::RootfsError;
use crate::digest::Digest;
use crate::images::{Record, State, blocking};
use crate::layout;

/// How long what has come of a layer waits for the rest, at most.
const STALE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long nobody has written to what nobody is fetching.
const QUIET: Duration = Duration::from_secs(300);

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Images.
    pub images: usize,
    /// Layers.
    pub layers: usize,
    /// Whether buildah's storage was emptied.
    pub storage: bool,
    /// Bytes that are still there.
    pub bytes: u64,
}

/// An image, for deciding.
#[derive(Clone, Debug)]
struct Known {
    digest: Digest,
    used: SystemTime,
    layers: Vec<Digest>,
}

pub(crate) async fn collect(state: &Arc<State>, most: u64) -> Result<Collected, RootfsError> {
    let state = Arc::clone(state);
    blocking(move || attempt(&state, most)).await
}

/// Bytes of layers, of what has come of others, and of buildah's storage.
pub(crate) async fn disk_bytes(state: &Arc<State>) -> Result<u64, RootfsError> {
    let state = Arc::clone(state);
    blocking(move || {
        let layers: u64 = layers(&state)?.values().sum();
        let beside = [&state.layout.blobs, &state.layout.storage];
        Ok(layers + beside.iter().map(|directory| layout::disk_bytes(directory)).sum::<u64>())
    })
    .await
}

/// The layers that are here, with the bytes of each.
fn layers(state: &State) -> Result<HashMap<Digest, u64>, RootfsError> {
    let layout = &state.layout;
    let mut sizes = HashMap::new();
    for name in layout::names(&layout.layers)? {
        if let Some(id) = Digest::from_file_name(&name)
            && let Some(bytes) = layout.layer_bytes(&id)
        {
            sizes.insert(id, bytes);
        }
    }
    Ok(sizes)
}

fn attempt(state: &State, most: u64) -> Result<Collected, RootfsError> {
    let layout = &state.layout;
    let budget = state.settings.budget_bytes.min(most);
    let mut collected = Collected::default();
    let mut sizes = layers(state)?;
    let layers: u64 = sizes.values().sum();
    let blobs = remove_blobs(state, STALE)?;
    let mut storage = layout::disk_bytes(&layout.storage);
    if layers + blobs + storage > budget
        && storage > 0
        && let Ok(_alone) = state.building.try_lock()
    {
        layout.discard(&layout.storage)?;
        fs::create_dir(&layout.storage).map_err(RootfsError::files("create", &layout.storage))?;
        (storage, collected.storage) = (0, true);
        tracing::info!("emptied buildah's storage");
    }
    let mut beside = blobs + storage;
    if layers + beside > budget {
        beside = remove_blobs(state, QUIET)? + storage;
    }
    let images = images(state)?;
    let held = state.held.while_still(|counts| counts.keys().cloned().collect());
    let plan = plan(images, &sizes, &held, budget.saturating_sub(beside));
    for image in &plan.images {
        let path = layout.images.join(format!("{}.json", image.file_name()));
        fs::remove_file(&path).map_err(RootfsError::files("remove", &path))?;
        tracing::info!(%image, "removed an image that was not used for long");
        collected.images += 1;
    }
    for layer in &plan.layers {
        // Whoever takes a lease from now on finds that it is not there.
        let aside = state.held.while_still(|counts| -> Result<_, RootfsError> {
            if counts.contains_key(layer) {
                return Ok(None);
            }
            let (aside, path) = (layout.aside()?, layout.layer(layer));
            fs::rename(&path, aside.path().join("layer"))
                .map_err(RootfsError::files("remove", &path))?;
            Ok(Some(aside))
        })?;
        if let Some(aside) = aside {
            layout::remove(&aside.keep())?;
            let note = layout.layer_note(layer);
            fs::remove_file(&note).map_err(RootfsError::files("remove", &note))?;
            sizes.remove(layer);
            collected.layers += 1;
        }
    }
    forget(state)?;
    collected.bytes = sizes.values().sum::<u64>() + beside;
    Ok(collected)
}

fn images(state: &State) -> Result<Vec<Known>, RootfsError> {
    let mut images = Vec::new();
    for name in layout::names(&state.layout.images)? {
        let path = state.layout.images.join(&name);
        let used = fs::metadata(&path).and_then(|facts| facts.modified());
        let record: Option<Record> = layout::read(&path);
        if let Some(record) = record
            && let (Ok(digest), Ok(layers)) = (Digest::parse(&record.digest), record.diff_ids())
        {
            let used = used.unwrap_or(SystemTime::UNIX_EPOCH);
            images.push(Known { digest, used, layers });
        }
    }
    Ok(images)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    images: Vec<Digest>,
    layers: Vec<Digest>,
}

/// What is to be removed for the layers to take no more than `budget` bytes.
fn plan(
    mut images: Vec<Known>,
    sizes: &HashMap<Digest, u64>,
    held: &HashSet<Digest>,
    budget: u64,
) -> Plan {
    let mut plan = Plan::default();
    let mut total: u64 = sizes.values().sum();
    let mut users: HashMap<&Digest, usize> = HashMap::new();
    images.sort_by_key(|image| image.used);
    for layer in images.iter().flat_map(|image| image.layers.iter().collect::<HashSet<_>>()) {
        *users.entry(layer).or_default() += 1;
    }
    let mut drop_layer = |layer: &Digest, total: &mut u64| {
        if let Some(bytes) = sizes.get(layer) {
            *total -= bytes;
            plan.layers.push(layer.clone());
        }
    };
    // Of a pull that failed; they would be quick to have again.
    let mut strays: Vec<&Digest> =
        sizes.keys().filter(|id| !users.contains_key(id) && !held.contains(id)).collect();
    strays.sort();
    for stray in strays {
        if total <= budget {
            break;
        }
        drop_layer(stray, &mut total);
    }
    for image in &images {
        if total <= budget {
            break;
        }
        if image.layers.iter().any(|layer| held.contains(layer) && users.get(layer) == Some(&1)) {
            // It is in use.
            continue;
        }
        let mine: HashSet<&Digest> = image.layers.iter().collect();
        let only: Vec<&Digest> =
            mine.iter().filter(|id| users.get(*id) == Some(&1)).copied().collect();
        let all_held = image.layers.iter().all(|layer| held.contains(layer));
        if only.is_empty() || all_held {
            // Nothing would become free; and if all is held, it may be this one that is in use.
            continue;
        }
        plan.images.push(image.digest.clone());
        for layer in mine {
            if let Some(count) = users.get_mut(layer) {
                *count -= 1;
            }
        }
        only.into_iter().for_each(|layer| drop_layer(layer, &mut total));
    }
    plan
}

/// Removes what nobody has written to for this long; returns the bytes that stay.
fn remove_blobs(state: &State, quiet: Duration) -> Result<u64, RootfsError> {
    let mut bytes = 0;
    for name in layout::names(&state.layout.blobs)? {
        let path = state.layout.blobs.join(name);
        let Ok(facts) = fs::metadata(&path) else { continue };
        let age = facts.modified().ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
        if age < quiet {
            bytes += facts.len();
        } else {
            fs::remove_file(&path).map_err(RootfsError::files("remove", &path))?;
        }
    }
    Ok(bytes)
}

/// Removes notes about images that are not here.
fn forget(state: &State) -> Result<(), RootfsError> {
    #[derive(serde::Deserialize)]
    struct Note {
        digest: String,
    }
    for directory in [&state.layout.names, &state.layout.builds] {
        for name in layout::names(directory)? {
            let path = directory.join(name);
            let note: Option<Note> = layout::read(&path);
            let digest = note.and_then(|note| Digest::parse(&note.digest).ok());
            let is_here = digest.is_some_and(|digest| {
                state.layout.images.join(format!("{}.json", digest.file_name())).exists()
            });
            if !is_here {
                fs::remove_file(&path).map_err(RootfsError::files("remove", &path))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn image(name: &str, used: u64, layers: &[&str]) -> Known {
        let used = SystemTime::UNIX_EPOCH + Duration::from_secs(used);
        Known { digest: id(name), used, layers: layers.iter().map(|name| id(name)).collect() }
    }

    fn sizes(layers: &[&str]) -> HashMap<Digest, u64> {
        layers.iter().map(|name| (id(name), 10)).collect()
    }

    fn planned(images: Vec<Known>, layers: &[&str], held: &[&str], budget: u64) -> Plan {
        let held = held.iter().map(|name| id(name)).collect();
        let mut plan = plan(images, &sizes(layers), &held, budget);
        plan.layers.sort();
        plan
    }

    fn plan_of(images: &[&str], layers: &[&str]) -> Plan {
        let mut layers: Vec<Digest> = layers.iter().map(|name| id(name)).collect();
        layers.sort();
        Plan { images: images.iter().map(|name| id(name)).collect(), layers }
    }

    #[test]
    fn the_image_not_used_for_longest_goes_with_what_only_it_has() {
        let images = vec![image("new", 2, &["base", "n"]), image("old", 1, &["base", "o"])];
        let all = ["base", "n", "o"];
        assert_eq!(planned(images.clone(), &all, &[], 30), Plan::default());
        assert_eq!(planned(images.clone(), &all, &[], 29), plan_of(&["old"], &["o"]));
        assert_eq!(planned(images, &all, &[], 0), plan_of(&["old", "new"], &all));
    }

    #[test]
    fn layers_of_no_image_go_first() {
        let images = vec![image("a", 1, &["l"])];
        assert_eq!(planned(images.clone(), &["l", "stray"], &[], 10), plan_of(&[], &["stray"]));
        assert_eq!(planned(images, &["l", "stray"], &["stray"], 10), plan_of(&["a"], &["l"]));
    }

    #[test]
    fn what_is_held_stays_however_little_room_there_is() {
        let images = vec![image("used", 1, &["base", "u"]), image("idle", 2, &["base", "i"])];
        let all = ["base", "u", "i"];
        assert_eq!(planned(images, &all, &["base", "u"], 0), plan_of(&["idle"], &["i"]));
        let images = vec![image("lower", 1, &["base"]), image("used", 2, &["base", "u"])];
        assert_eq!(planned(images, &["base", "u"], &["base", "u"], 0), Plan::default());
    }
}
