//! What every crate's manifest and root file must say.

use super::files::Repository;

/// The one crate that may contain unsafe code anywhere.
const MAY_BE_UNSAFE: &str = "crates/sandbox";

/// Crates that call macOS themselves, and the files of each that may be unsafe to do so. They are
/// compiled for macOS only.
const MAC_CALLS: [(&str, &[&str]); 1] =
    [("crates/device", &["src/apple/macos/calls.rs", "src/probe/metal/calls.rs"])];

/// What the root of a crate says.
const FORBIDDEN: &str = "#![forbid(unsafe_code)]";

/// What the root of a crate that calls macOS says; there it says `deny`, which those files lift.
const FORBIDDEN_BUT_ON_MACS: &str = "\
#![cfg_attr(not(target_os = \"macos\"), forbid(unsafe_code))]
#![cfg_attr(target_os = \"macos\", deny(unsafe_code))]";

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
        let forbids = match MAC_CALLS.iter().find(|(of, _)| *of == directory) {
            Some(_) => FORBIDDEN_BUT_ON_MACS,
            None => FORBIDDEN,
        };
        if !root.is_some_and(|root| root.text.contains(forbids)) {
            complaints.push(format!("{directory}: its root has no `{forbids}`"));
        }
    }
    complaints.extend(MAC_CALLS.iter().flat_map(|(of, files)| strays(repository, of, files)));
    complaints
}

/// Files of a crate beside `allowed` that lift its ban on unsafe code.
fn strays(repository: &Repository, directory: &str, allowed: &[&str]) -> Vec<String> {
    let allowed: Vec<String> = allowed.iter().map(|file| format!("{directory}/{file}")).collect();
    let files = repository
        .files
        .iter()
        .filter(|file| file.is("rs") && file.is_below(directory) && !allowed.contains(&file.path));
    files
        .filter(|file| ["allow", "expect"].iter().any(|it| lifts(&file.text, it)))
        .map(|file| format!("{}: unsafe code is for {} only", file.path, allowed.join(" and ")))
        .collect()
}

fn lifts(text: &str, attribute: &str) -> bool {
    text.contains(&format!("{attribute}(unsafe_code"))
}

#[cfg(test)]
mod tests {
    use super::super::files::TextFile;
    use super::*;

    fn strays_with(path: &str, text: &str) -> usize {
        let file = TextFile { path: path.to_owned(), text: text.to_owned() };
        let (directory, allowed) = MAC_CALLS[0];
        strays(&Repository { files: vec![file] }, directory, allowed).len()
    }

    #[test]
    fn the_files_of_a_crate_that_call_macos_may_be_unsafe() {
        let text = format!("#![{}(unsafe_code, reason = \"C\")]", "expect");
        for file in MAC_CALLS[0].1 {
            assert_eq!(strays_with(&format!("crates/device/{file}"), &text), 0);
        }
        assert_eq!(strays_with("crates/device/src/gauge.rs", &text), 1);
        assert_eq!(strays_with("crates/device/src/gauge.rs", "deny(unsafe_code)"), 0);
    }
}
