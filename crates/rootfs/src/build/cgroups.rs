//! What a build that was killed leaves of its cgroups.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// Removes the cgroups of builds, of all hierarchies. One with processes stays: the kernel refuses.
pub(super) fn remove(name: &str) {
    let below = name.trim_start_matches('/');
    let mut roots = vec![PathBuf::from(ROOT)];
    roots.extend(directories(Path::new(ROOT)));
    for parent in roots.iter().map(|root| root.join(below)).filter(|path| path.is_dir()) {
        for path in directories(&parent).into_iter().chain([parent]) {
            // It is tried again after the next build.
            let _ = fs::remove_dir(path);
        }
    }
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
