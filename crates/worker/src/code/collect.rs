//! Keeping the code cache within its budget.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::caches::shrink;

/// Removes directories of `cache`, the one not used for longest first, until the rest takes no more
/// than `budget` bytes or only held ones are left. Returns how many. They are moved to `temporary`
/// first, so that one that is half removed does not count as an object.
pub(super) fn oldest(cache: &Path, temporary: &Path, budget: u64) -> io::Result<usize> {
    let mut objects = Vec::new();
    for entry in fs::read_dir(cache)? {
        let path = entry?.path();
        let used = fs::metadata(&path).and_then(|facts| facts.modified());
        objects.push((used.unwrap_or(SystemTime::UNIX_EPOCH), size(&path), path));
    }
    shrink(objects, budget, |path| match take(path, temporary) {
        Some(aside) => fs::remove_dir_all(aside).map(|()| true),
        None => Ok(false),
    })
}

/// Moves a directory that nobody holds aside.
fn take(path: &Path, temporary: &Path) -> Option<PathBuf> {
    let directory = File::open(path).ok()?;
    directory.try_lock().ok()?;
    let aside = temporary.join("unused").with_extension(path.file_name()?);
    fs::rename(path, &aside).ok()?;
    Some(aside)
}

/// Bytes of the files below a directory.
pub(super) fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(facts) if facts.is_dir() => size(&entry.path()),
            Ok(facts) => facts.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use std::fs::FileTimes;
    use std::time::Duration;

    use super::*;
    use crate::code::Code;

    fn object(cache: &Path, name: &str, hours_ago: u64) -> PathBuf {
        let path = cache.join(name);
        fs::create_dir_all(path.join("package")).unwrap();
        fs::write(path.join("package/module.py"), vec![b'#'; 1000]).unwrap();
        let used = SystemTime::now() - Duration::from_secs(hours_ago * 3600);
        File::open(&path).unwrap().set_times(FileTimes::new().set_modified(used)).unwrap();
        path
    }

    #[test]
    fn code_not_used_for_longest_goes_first_and_code_in_use_stays() {
        let root = tempfile::tempdir().unwrap();
        let (cache, temporary) = (root.path().join("code"), root.path().join("tmp"));
        fs::create_dir_all(&temporary).unwrap();
        let old = object(&cache, "old", 3);
        let held = object(&cache, "held", 4);
        let new = object(&cache, "new", 1);
        let lease = Code::hold(held.clone()).unwrap();
        assert_eq!(oldest(&cache, &temporary, 2000).unwrap(), 1);
        assert_eq!([old.exists(), held.exists(), new.exists()], [false, true, true]);
        assert_eq!(oldest(&cache, &temporary, 0).unwrap(), 1, "but for the one in use");
        assert!(held.exists());
        drop(lease);
        assert_eq!(oldest(&cache, &temporary, 0).unwrap(), 1);
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    }

    #[test]
    fn holding_code_counts_as_a_use() {
        let root = tempfile::tempdir().unwrap();
        let (cache, temporary) = (root.path().join("code"), root.path().join("tmp"));
        fs::create_dir_all(&temporary).unwrap();
        let one = object(&cache, "one", 5);
        object(&cache, "other", 1);
        drop(Code::hold(one.clone()).unwrap());
        oldest(&cache, &temporary, 1000).unwrap();
        assert!(one.exists());
        assert!(Code::hold(cache.join("other")).is_none());
    }
}
