//! The Python interpreters of the machine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use metal9_types::PythonVersion;
use serde::Deserialize;
use tokio::process::Command;

use crate::EnvError;
use crate::child_env;
use crate::process::{self, Input};

/// The oldest minor version of Python 3 that environments are made for.
const OLDEST_MINOR: u32 = 8;

/// One interpreter per minor version of Python 3.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Pythons {
    by_minor: BTreeMap<u32, PathBuf>,
    preferred: Option<u32>,
}

impl Pythons {
    /// Puts the interpreters in order; `preferred` serves whoever asks for any version.
    pub(crate) fn new(by_minor: BTreeMap<u32, PathBuf>, preferred: Option<u32>) -> Self {
        let newest = by_minor.last_key_value().map(|(minor, _)| *minor);
        let preferred = preferred.filter(|minor| by_minor.contains_key(minor)).or(newest);
        Self { by_minor, preferred }
    }

    /// The versions, oldest first, as `3.11`.
    pub(crate) fn versions(&self) -> Vec<String> {
        self.by_minor.keys().map(|minor| format!("3.{minor}")).collect()
    }

    /// The minor version and interpreter for a wish.
    pub(crate) fn find(&self, wanted: PythonVersion) -> Result<(u32, &Path), EnvError> {
        let minor = match wanted {
            PythonVersion::Any => self.preferred,
            PythonVersion::Minor(minor) => Some(minor),
        };
        minor
            .and_then(|minor| Some((minor, self.by_minor.get(&minor)?.as_path())))
            .ok_or_else(|| self.missing(wanted))
    }

    fn missing(&self, wanted: PythonVersion) -> EnvError {
        let wanted = match wanted {
            PythonVersion::Any => "3".to_owned(),
            PythonVersion::Minor(minor) => format!("3.{minor}"),
        };
        EnvError::PythonMissing { wanted, available: self.versions() }
    }
}

/// One entry of uv's list.
#[derive(Deserialize)]
struct Entry {
    version: String,
    version_parts: Parts,
    path: PathBuf,
    implementation: String,
    #[serde(default)]
    arch: String,
    #[serde(default)]
    variant: String,
}

#[derive(Deserialize)]
struct Parts {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Entry {
    /// The larger, the better for the same minor version; nothing for one that is of no use.
    fn rank(&self, arch: &str) -> Option<(bool, bool, u32)> {
        let Parts { major, minor, patch } = self.version_parts;
        let usable = self.implementation == "cpython"
            && major == 3
            && minor >= OLDEST_MINOR
            && (self.variant.is_empty() || self.variant == "default")
            // An x86 Python on an ARM Mac would run, translated, and see no GPU.
            && (self.arch.is_empty() || self.arch == arch);
        let release = self.version == format!("{major}.{minor}.{patch}");
        let shim = self.path.components().any(|part| part.as_os_str() == "shims");
        usable.then_some((release, !shim, patch))
    }
}

/// The best interpreter of each minor version in uv's list.
pub(crate) fn read_list(json: &str, arch: &str) -> Result<BTreeMap<u32, PathBuf>, EnvError> {
    let entries: Vec<Entry> = serde_json::from_str(json).map_err(|error| EnvError::Answer {
        program: "uv python list".into(),
        reason: error.to_string(),
    })?;
    let mut best: BTreeMap<u32, ((bool, bool, u32), PathBuf)> = BTreeMap::new();
    for entry in entries {
        let Some(rank) = entry.rank(arch) else { continue };
        let minor = entry.version_parts.minor;
        // Of equal ones the first stays: uv lists them in the order of the search path.
        if best.get(&minor).is_none_or(|(other, _)| rank > *other) {
            best.insert(minor, (rank, entry.path));
        }
    }
    Ok(best.into_iter().map(|(minor, (_, path))| (minor, path)).collect())
}

/// The search path plus the places that version managers and installers put Pythons in, which a
/// daemon's own search path usually lacks; without the managers' shims, which are slow scripts that
/// stand for those same Pythons.
pub(crate) fn search_path() -> OsString {
    let home = std::env::home_dir().unwrap_or_default();
    let pyenv = std::env::var_os("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
    let asdf = home.join(".asdf");
    let mise = home.join(".local/share/mise");
    let shims = [&pyenv, &asdf, &mise].map(|manager| manager.join("shims"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> =
        std::env::split_paths(&path).filter(|place| !shims.contains(place)).collect();
    for parent in [
        pyenv.join("versions"),
        asdf.join("installs/python"),
        mise.join("installs/python"),
        PathBuf::from("/Library/Frameworks/Python.framework/Versions"),
    ] {
        let mut versions: Vec<_> = std::fs::read_dir(parent)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .filter(|bin| bin.is_dir())
            .collect();
        versions.sort();
        places.extend(versions);
    }
    places.extend(["/opt/homebrew/bin", "/usr/local/bin", "/usr/bin"].map(PathBuf::from));
    std::env::join_paths(places).unwrap_or(path)
}

/// The minor version of the `python3` a shell would run, if there is one.
pub(crate) async fn minor_on_path() -> Option<u32> {
    let mut command = Command::new("python3");
    command.args(["-I", "-c", "import sys; print(sys.version_info[1])"]);
    child_env::clean(&mut command);
    let ended = process::run(command, Input::Nothing, &mut |_: &str| ()).await.ok()?;
    ended.stdout.trim().parse().ok().filter(|_| ended.success)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = include_str!("pythons/list.json");

    #[test]
    fn the_best_interpreter_of_each_version_is_chosen() {
        let chosen = read_list(LIST, "x86_64").unwrap();
        let text: Vec<_> =
            chosen.iter().map(|(minor, path)| format!("3.{minor} {}", path.display())).collect();
        assert_eq!(
            text,
            [
                "3.8 /home/ann/.pyenv/versions/3.8.18/bin/python3.8",
                "3.11 /home/ann/.pyenv/versions/3.11.7/bin/python3.11",
                "3.12 /home/ann/.pyenv/shims/python3.12",
                "3.13 /opt/python/3.13.0/bin/python3.13",
            ]
        );
    }

    #[test]
    fn interpreters_for_another_processor_are_left_out() {
        assert!(read_list(LIST, "aarch64").unwrap().is_empty());
    }

    #[test]
    fn an_answer_that_is_no_list_is_an_error() {
        assert!(matches!(read_list("{}", "x86_64"), Err(EnvError::Answer { .. })));
    }

    #[test]
    fn any_version_means_the_preferred_one_else_the_newest() {
        let chosen = read_list(LIST, "x86_64").unwrap();
        let preferred = Pythons::new(chosen.clone(), Some(11));
        assert_eq!(preferred.find(PythonVersion::Any).unwrap().0, 11);
        let without = Pythons::new(chosen, Some(9));
        assert_eq!(without.find(PythonVersion::Any).unwrap().0, 13);
        assert_eq!(without.find(PythonVersion::Minor(8)).unwrap().0, 8);
    }

    #[test]
    fn a_missing_version_names_what_there_is() {
        let pythons = Pythons::new(read_list(LIST, "x86_64").unwrap(), None);
        let error = pythons.find(PythonVersion::Minor(10)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "python 3.10 is not on this machine; it has 3.8, 3.11, 3.12, 3.13"
        );
        assert!(error.hint().unwrap().contains("python3.13"));
        let none = Pythons::default().find(PythonVersion::Any).unwrap_err();
        assert!(none.to_string().contains("has none"), "{none}");
    }
}
