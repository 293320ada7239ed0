//! Where a service looks for programs.

use std::path::{Path, PathBuf};

use crate::place::Manager;

/// Where every system has its programs.
const STANDARD: [&str; 5] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// Where Homebrew puts programs on Apple Silicon.
const HOMEBREW: &str = "/opt/homebrew/bin";

/// The directories of a service's search path. `found` are those in which the programs that a worker
/// needs were found when it was installed; they go first, as they did then.
#[must_use]
pub fn search_path(manager: Manager, home: &Path, found: &[PathBuf]) -> Vec<PathBuf> {
    let mut all = found.to_vec();
    all.push(home.join(".local/bin"));
    if manager == Manager::Launchd {
        all.push(PathBuf::from(HOMEBREW));
    }
    all.extend(STANDARD.map(PathBuf::from));
    let mut path: Vec<PathBuf> = Vec::new();
    for directory in all {
        // One with a colon would be read as two.
        let usable = directory.is_absolute() && !directory.to_string_lossy().contains(':');
        if usable && !path.contains(&directory) {
            path.push(directory);
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_goes_first_and_nothing_twice() {
        let found = ["/opt/uv", "/usr/bin", "relative", "/a:b"].map(PathBuf::from);
        let path = search_path(Manager::Launchd, Path::new("/Users/ada"), &found);
        let expected = [
            "/opt/uv",
            "/usr/bin",
            "/Users/ada/.local/bin",
            "/opt/homebrew/bin",
            "/usr/local/bin",
            "/bin",
            "/usr/sbin",
            "/sbin",
        ];
        assert_eq!(path, expected.map(PathBuf::from));
        let path = search_path(Manager::Systemd, Path::new("/home/ada"), &[]);
        assert!(!path.contains(&PathBuf::from(HOMEBREW)));
    }
}
