//! What every crate's manifest and root file must say.

use super::files::Repository;

/// The one crate that may contain unsafe code.
const MAY_BE_UNSAFE: &str = "crates/sandbox";

/// Compiled for the fuzzer only, outside of the workspace; its macros expand to unsafe code.
const APART: &str = "fuzz";

/// Checks that every crate takes part in the workspace's lints, and forbids unsafe code.
pub(super) fn check(repository: &Repository) -> Vec<String> {
    let mut complaints = Vec::new();
    for manifest in &repository.files {
        let Some(directory) = manifest.path.strip_suffix("/Cargo.toml") else { continue };
        if directory == APART {
            continue;
        }
        if !manifest.text.contains("[lints]\nworkspace = true") {
            complaints.push(format!("{}: has no `[lints] workspace = true`", manifest.path));
        }
        if directory == MAY_BE_UNSAFE {
            continue;
        }
        let roots = ["src/lib.rs", "src/main.rs"].map(|root| format!("{directory}/{root}"));
        // With a library in the crate, main.rs only calls it.
        let root = roots.iter().find_map(|root| repository.get(root));
        if !root.is_some_and(|root| root.text.contains("#![forbid(unsafe_code)]")) {
            complaints.push(format!("{directory}: its root has no `#![forbid(unsafe_code)]`"));
        }
    }
    complaints
}
