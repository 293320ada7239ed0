//! What a container leaves on the machine beside its processes and directories: cgroups of hierarchies
//! that nobody but the runtime uses.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Removes the cgroups of containers whose processes are gone and whose runtime's state is in this
/// directory, but for those that `keep` says; returns how many.
pub fn remove_cgroups(state: &Path, keep: impl Fn(&Path) -> bool) -> usize {
    let containers = fs::read_dir(state).into_iter().flatten().flatten();
    let states = containers.map(|it| fs::read(it.path().join("state.json")).unwrap_or_default());
    let cgroups: Vec<PathBuf> = states.flat_map(|state| cgroups(&state)).collect();
    let removed = cgroups.iter().filter(|cgroup| !keep(cgroup) && fs::remove_dir(cgroup).is_ok());
    removed.count()
}

/// The cgroups of a container, as runc writes them down.
fn cgroups(state: &[u8]) -> Vec<PathBuf> {
    #[derive(Deserialize)]
    struct State {
        #[serde(default)]
        cgroup_paths: BTreeMap<String, PathBuf>,
    }
    let state = serde_json::from_slice::<State>(state);
    state.map(|state| state.cgroup_paths.into_values().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_are_removed_as_runc_has_written_them_down() {
        let root = tempfile::tempdir().unwrap();
        let [devices, memory] = ["devices", "memory"].map(|name| root.path().join(name));
        let state = root.path().join("state/a");
        for directory in [&devices, &memory, &state] {
            fs::create_dir_all(directory).unwrap();
        }
        let text = serde_json::json!({
            "id": "a",
            "cgroup_paths": {"devices": devices, "memory": memory, "gone": root.path().join("x")},
        });
        fs::write(state.join("state.json"), text.to_string()).unwrap();
        let removed = remove_cgroups(&root.path().join("state"), |cgroup| cgroup == memory);
        assert_eq!((removed, devices.exists(), memory.exists()), (1, false, true));
        assert_eq!(remove_cgroups(&root.path().join("nothing"), |_| false), 0);
        assert!(cgroups(b"nonsense").is_empty());
    }
}
