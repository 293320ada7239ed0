//! What a container leaves on the machine beside its processes and directories: cgroups in hierarchies
//! that nobody but the runtime uses.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Where hierarchies of cgroups are mounted.
const MOUNTED: &str = "/sys/fs/cgroup";

/// How long the kernel may take to let go of a cgroup.
const FREE_WITHIN: Duration = Duration::from_secs(2);

/// How often it is asked.
const PAUSE: Duration = Duration::from_millis(1);

/// Removes the cgroups of a container whose processes are gone, by the name that it had: one that was
/// killed while the runtime made it is written down nowhere. Those below a group of its own go with
/// that. Returns how many there were.
pub fn remove_cgroups(id: &str) -> usize {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounted = fs::read_dir(MOUNTED).into_iter().flatten().flatten();
    let hierarchies: Vec<PathBuf> = mounted.map(|entry| entry.path()).collect();
    candidates(&own, &hierarchies, id).iter().filter(|cgroup| remove(cgroup)).count()
}

/// Where a runtime that this process has started makes the cgroups of a container.
fn candidates(own: &str, hierarchies: &[PathBuf], id: &str) -> Vec<PathBuf> {
    let mut paths: Vec<&str> = own.lines().filter_map(|line| line.splitn(3, ':').nth(2)).collect();
    paths.sort_unstable();
    paths.dedup();
    let below = |hierarchy: &PathBuf| {
        let hierarchy = hierarchy.clone();
        let groups = paths.iter().map(move |path| hierarchy.join(path.trim_start_matches('/')));
        groups.map(|group| group.join(id)).collect::<Vec<_>>()
    };
    hierarchies.iter().flat_map(below).collect()
}

/// Removes a cgroup. The kernel does not let go of one at the moment in which its last process has
/// ended.
fn remove(cgroup: &Path) -> bool {
    let begun = Instant::now();
    loop {
        match fs::remove_dir(cgroup) {
            Ok(()) => return true,
            Err(error)
                if error.kind() == ErrorKind::ResourceBusy && begun.elapsed() < FREE_WITHIN =>
            {
                thread::sleep(PAUSE);
            }
            Err(_) => return false,
        }
    }
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

    #[test]
    fn what_is_not_there_is_not_removed() {
        assert_eq!(remove_cgroups("metal9-there-is-no-such-container"), 0);
    }
}
