//! Keeping environments within a disk budget.
//!
//! uv's cache goes first, since it only makes later builds quicker: where the file system has no
//! clones, environments are hard links into it and keep their files. Then the environments that
//! were not used for longest go, but for those that somebody holds.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::layout::{self, Layout};
use crate::{EnvError, hold};

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Whether uv's cache was emptied.
    pub cache: bool,
    /// Environments removed.
    pub environments: usize,
}

/// Bytes on disk of all files below some directories; a file with several names counts once.
pub(crate) fn disk_bytes(directories: &[&Path]) -> u64 {
    let mut seen = HashSet::new();
    directories.iter().map(|directory| below(directory, &mut seen)).sum()
}

fn below(directory: &Path, seen: &mut HashSet<(u64, u64)>) -> u64 {
    let mut bytes = 0;
    // What disappears meanwhile takes no room.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(facts) = entry.metadata() else { continue };
        if facts.is_dir() {
            bytes += below(&entry.path(), seen);
        } else if facts.nlink() == 1 || seen.insert((facts.dev(), facts.ino())) {
            bytes += facts.blocks() * 512;
        }
    }
    bytes
}

/// Removes environments, those not used for longest first, until all take no more than `budget`
/// bytes or only those in use are left. Returns how many.
pub(crate) fn remove_oldest(layout: &Layout, budget: u64) -> Result<usize, EnvError> {
    let mut removed = 0;
    for hash in layout.by_last_use() {
        if disk_bytes(&[&layout.envs, &layout.uv_cache]) <= budget {
            break;
        }
        // Whoever uses it or builds it has the lock.
        let Some(_held) = hold::try_acquire(&layout.lock_file(&hash))? else { continue };
        layout::remove(&layout.environment(&hash))?;
        tracing::info!(environment = hash, "removed an environment that was not used for long");
        removed += 1;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};
    use std::time::{Duration, SystemTime};

    use super::*;

    /// An environment of about a mebibyte that was used this long ago.
    fn environment(layout: &Layout, digit: char, hours_ago: u64) -> String {
        let hash = digit.to_string().repeat(32);
        let made = layout.environment(&hash);
        fs::create_dir_all(made.dir.join("bin")).unwrap();
        fs::write(&made.python, vec![1; 1024 * 1024]).unwrap();
        layout::complete(&made).unwrap();
        let used = SystemTime::now() - Duration::from_secs(hours_ago * 3600);
        let times = FileTimes::new().set_modified(used);
        File::options()
            .write(true)
            .open(made.dir.join(".complete"))
            .unwrap()
            .set_times(times)
            .unwrap();
        hash
    }

    #[test]
    fn the_environment_not_used_for_longest_goes_first() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::create(root.path()).unwrap();
        let new = environment(&layout, 'a', 1);
        environment(&layout, 'b', 3);
        let newer = environment(&layout, 'c', 2);
        assert_eq!(remove_oldest(&layout, 5 << 19).unwrap(), 1);
        assert_eq!(layout.ready(), [new, newer]);
        assert_eq!(remove_oldest(&layout, 5 << 19).unwrap(), 0);
    }

    #[test]
    fn an_environment_in_use_stays_however_little_room_there_is() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::create(root.path()).unwrap();
        let used = environment(&layout, 'a', 3);
        environment(&layout, 'b', 1);
        let lease = hold::try_share(&layout.lock_file(&used)).unwrap().unwrap();
        assert_eq!(remove_oldest(&layout, 0).unwrap(), 1);
        assert_eq!(layout.ready(), [used]);
        drop(lease);
        assert_eq!(remove_oldest(&layout, 0).unwrap(), 1);
    }

    #[test]
    fn a_file_with_two_names_counts_once() {
        let root = tempfile::tempdir().unwrap();
        let (one, other) = (root.path().join("a"), root.path().join("b"));
        fs::create_dir_all(&one).unwrap();
        fs::create_dir_all(&other).unwrap();
        fs::write(one.join("f"), vec![1; 64 * 1024]).unwrap();
        let alone = disk_bytes(&[&one]);
        fs::hard_link(one.join("f"), other.join("f")).unwrap();
        assert_eq!(disk_bytes(&[&one, &other]), alone);
        fs::write(other.join("g"), vec![1; 64 * 1024]).unwrap();
        assert_eq!(disk_bytes(&[&one, &other]), 2 * alone);
    }
}
