//! What a container leaves on the machine beside its processes and directories: cgroups in hierarchies
//! that nobody but the runtime uses.

use std::fs;
use std::path::PathBuf;

use crate::cgroup::{ROOT, clean};

/// Removes the cgroups of a container by the name that it had, since one that was killed while the
/// runtime made it is written down nowhere. Those below a group of its own go with that. Returns
/// whether there were any.
pub fn remove_cgroups(id: &str) -> bool {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounted = fs::read_dir(ROOT).into_iter().flatten().flatten();
    let hierarchies: Vec<PathBuf> = mounted.map(|entry| entry.path()).collect();
    let mut cgroups = candidates(&own, &hierarchies, id);
    cgroups.retain(|cgroup| cgroup.exists());
    clean(&cgroups);
    !cgroups.is_empty()
}

/// Where a runtime that this process has started makes the cgroups of a container.
fn candidates(own: &str, hierarchies: &[PathBuf], id: &str) -> Vec<PathBuf> {
    let mut paths: Vec<&str> = own.lines().filter_map(|line| line.splitn(3, ':').nth(2)).collect();
    paths.sort_unstable();
    paths.dedup();
    let mut candidates = Vec::new();
    for hierarchy in hierarchies {
        let groups = paths.iter().map(|path| hierarchy.join(path.trim_start_matches('/')));
        candidates.extend(groups.map(|group| group.join(id)));
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_makes_groups_below_those_that_it_is_started_in() {
        let own = "4:memory:/\n3:devices:/user.slice\n0::/user.slice\n";
        let hierarchies = ["/sys/fs/cgroup/devices", "/sys/fs/cgroup/memory"].map(PathBuf::from);
        let expected = [
            "/sys/fs/cgroup/devices/metal9-1",
            "/sys/fs/cgroup/devices/user.slice/metal9-1",
            "/sys/fs/cgroup/memory/metal9-1",
            "/sys/fs/cgroup/memory/user.slice/metal9-1",
        ];
        assert_eq!(candidates(own, &hierarchies, "metal9-1"), expected.map(PathBuf::from));
        assert!(candidates("nonsense", &hierarchies, "metal9-1").is_empty());
    }
}
