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
    by_minor: BTreeMap<u32, Python>,
    preferred: Option<u32>,
}

/// An interpreter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Python {
    pub(crate) path: PathBuf,
    /// It starts another program, `Python.app`, in its place: what was set for the first one only,
    /// as the kernel's limit of memory on macOS, is lost.
    pub(crate) restarts: bool,
}

impl Pythons {
    /// Puts the interpreters in order; `preferred` serves whoever asks for any version.
    pub(crate) fn new(by_minor: BTreeMap<u32, Python>, preferred: Option<u32>) -> Self {
        let newest = by_minor.iter().max_by_key(|(minor, python)| (!python.restarts, **minor));
        let newest = newest.map(|(minor, _)| *minor);
        let preferred = preferred.filter(|minor| by_minor.contains_key(minor)).or(newest);
        Self { by_minor, preferred }
    }

    /// The versions, oldest first, as `3.11`.
    pub(crate) fn versions(&self) -> Vec<String> {
        self.by_minor.keys().map(|minor| format!("3.{minor}")).collect()
    }

    /// The minor versions whose interpreter is one that restarts, or is not, oldest first.
    pub(crate) fn that_restart(&self, restarts: bool) -> impl Iterator<Item = u32> {
        let those = self.by_minor.iter().filter(move |(_, python)| python.restarts == restarts);
        those.map(|(minor, _)| *minor)
    }

    /// The minor version and interpreter for a wish.
    pub(crate) fn find(&self, wanted: PythonVersion) -> Result<(u32, &Path), EnvError> {
        let minor = match wanted {
            PythonVersion::Any => self.preferred,
            PythonVersion::Minor(minor) => Some(minor),
        };
        minor
            .and_then(|minor| Some((minor, self.by_minor.get(&minor)?.path.as_path())))
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
    os: String,
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

/// How good an interpreter is among those of one minor version; the larger, the better.
type Rank = (bool, bool, bool, u32);

impl Entry {
    /// Nothing for one that is of no use. `real` is its file with all links followed.
    fn rank(&self, arch: &str, real: &Path) -> Option<Rank> {
        let Parts { major, minor, patch } = self.version_parts;
        let usable = self.implementation == "cpython"
            && major == 3
            && minor >= OLDEST_MINOR
            && (self.variant.is_empty() || self.variant == "default")
            // An x86 Python on an ARM Mac would run, translated, and see no GPU.
            && (self.arch.is_empty() || self.arch == arch);
        let release = self.version == format!("{major}.{minor}.{patch}");
        let shim = self.path.components().any(|part| part.as_os_str() == "shims");
        usable.then_some((release, !self.restarts(real), !shim, patch))
    }

    /// Whether it is a framework of macOS: python.org's, Homebrew's, Xcode's and the system's are.
    fn restarts(&self, real: &Path) -> bool {
        let is_framework = |path: &Path| {
            path.components()
                .any(|part| Path::new(part.as_os_str()).extension() == Some("framework".as_ref()))
        };
        let of_the_system = ["/usr/bin", "/Library/Developer", "/Applications"];
        matches!(self.os.as_str(), "macos" | "darwin")
            && [self.path.as_path(), real].into_iter().any(|path| {
                is_framework(path) || of_the_system.iter().any(|place| path.starts_with(place))
            })
    }
}

/// The best interpreter of each minor version in uv's list, whose paths may be relative to `base`,
/// where it ran. `real` follows all links of a path.
pub(crate) fn read_list(
    json: &str,
    arch: &str,
    base: &Path,
    real: impl Fn(&Path) -> PathBuf,
) -> Result<BTreeMap<u32, Python>, EnvError> {
    let entries: Vec<Entry> = serde_json::from_str(json).map_err(|error| EnvError::Answer {
        program: "uv python list".into(),
        reason: error.to_string(),
    })?;
    let mut best: BTreeMap<u32, (Rank, Python)> = BTreeMap::new();
    for mut entry in entries {
        entry.path = base.join(entry.path);
        let real = real(&entry.path);
        let Some(rank) = entry.rank(arch, &real) else { continue };
        let minor = entry.version_parts.minor;
        // Of equal ones the first stays: uv lists them in the order of the search path.
        if best.get(&minor).is_none_or(|(other, _)| rank > *other) {
            let restarts = entry.restarts(&real);
            best.insert(minor, (rank, Python { path: entry.path, restarts }));
        }
    }
    Ok(best.into_iter().map(|(minor, (_, python))| (minor, python)).collect())
}

/// Follows all links of a path, as far as that can be done.
pub(crate) fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Where macOS has programs that only offer to install the real ones, in a window.
const STUBS: &str = "/usr/bin";
/// Where the real ones are.
const DEVELOPER_TOOLS: &str = "/Library/Developer/CommandLineTools/usr/bin";

/// The search path plus the places that version managers and installers put Pythons in, which a
/// daemon's own search path usually lacks; without the managers' shims, which are slow scripts that
/// stand for those same Pythons. Below `ours` are those that were installed for environments.
pub(crate) fn search_path(ours: &Path) -> OsString {
    let home = std::env::home_dir().unwrap_or_default();
    let pyenv = std::env::var_os("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
    let asdf = home.join(".asdf");
    let mise = home.join(".local/share/mise");
    let shims = [&pyenv, &asdf, &mise].map(|manager| manager.join("shims"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = versions_below(ours);
    places.extend(std::env::split_paths(&path).filter(|place| !shims.contains(place)));
    for parent in [
        pyenv.join("versions"),
        asdf.join("installs/python"),
        mise.join("installs/python"),
        PathBuf::from("/Library/Frameworks/Python.framework/Versions"),
    ] {
        places.extend(versions_below(&parent));
    }
    places.extend(["/opt/homebrew/bin", "/usr/local/bin", STUBS].map(PathBuf::from));
    if cfg!(target_os = "macos") {
        places = without_stubs(places);
    }
    std::env::join_paths(places).unwrap_or(path)
}

/// The directories of programs of what is installed below one directory.
fn versions_below(parent: &Path) -> Vec<PathBuf> {
    let mut versions: Vec<_> = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.is_dir())
        .collect();
    versions.sort();
    versions
}

/// A Mac's search path without the programs that would open a window.
fn without_stubs(places: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut places: Vec<_> = places.into_iter().filter(|place| place != Path::new(STUBS)).collect();
    places.push(DEVELOPER_TOOLS.into());
    places
}

/// The Python of a version that a shell would run, or else its `python3`; none that would open a
/// window.
pub(crate) fn on_path(preferred: Option<PythonVersion>) -> Option<PathBuf> {
    let named = match preferred {
        Some(PythonVersion::Minor(minor)) => which::which(format!("python3.{minor}")).ok(),
        _ => None,
    };
    let program = named.or_else(|| which::which("python3").ok())?;
    (!cfg!(target_os = "macos") || !program.starts_with(STUBS)).then_some(program)
}

/// The minor version of the `python3` a shell would run, if there is one.
pub(crate) async fn minor_on_path() -> Option<u32> {
    let mut command = Command::new(on_path(None)?);
    command.args(["-I", "-c", "import sys; print(sys.version_info[1])"]);
    child_env::clean(&mut command);
    let ended = process::run(command, Input::Nothing, &mut |_: &str| ()).await.ok()?;
    ended.stdout.trim().parse().ok().filter(|_| ended.success)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = include_str!("pythons/list.json");
    const MAC: &str = include_str!("pythons/mac.json");

    fn read(json: &str, arch: &str) -> BTreeMap<u32, Python> {
        read_list(json, arch, Path::new("/"), Path::to_owned).unwrap()
    }

    fn shown(chosen: &BTreeMap<u32, Python>) -> Vec<String> {
        let line = |(minor, python): (&u32, &Python)| {
            let restarts = if python.restarts { " restarts" } else { "" };
            format!("3.{minor} {}{restarts}", python.path.display())
        };
        chosen.iter().map(line).collect()
    }

    #[test]
    fn the_best_interpreter_of_each_version_is_chosen() {
        assert_eq!(
            shown(&read(LIST, "x86_64")),
            [
                "3.8 /home/ann/.pyenv/versions/3.8.18/bin/python3.8",
                "3.11 /home/ann/.pyenv/versions/3.11.7/bin/python3.11",
                "3.12 /home/ann/.pyenv/shims/python3.12",
                "3.13 /opt/python/3.13.0/bin/python3.13",
            ]
        );
    }

    #[test]
    fn a_mac_takes_its_frameworks_last() {
        // As links lead on a Mac: Homebrew's and python.org's programs are inside of frameworks.
        let real = |path: &Path| match path.to_str().unwrap() {
            "/opt/homebrew/bin/python3.13" => PathBuf::from(
                "/opt/homebrew/Cellar/python@3.13/3.13.9/Frameworks/Python.framework/Versions/3.13/bin/python3.13",
            ),
            "/usr/local/bin/python3.11" => {
                PathBuf::from("/Library/Frameworks/Python.framework/Versions/3.11/bin/python3.11")
            }
            other => PathBuf::from(other),
        };
        assert_eq!(
            shown(&read_list(MAC, "aarch64", Path::new("/"), real).unwrap()),
            [
                "3.9 /Library/Developer/CommandLineTools/usr/bin/python3 restarts",
                "3.11 /usr/local/bin/python3.11 restarts",
                "3.12 /Users/ada/.local/share/uv/python/cpython-3.12.4-macos-aarch64-none/bin/python3.12",
                "3.13 /opt/homebrew/bin/python3.13 restarts",
            ]
        );
        // What is in /usr/bin on Linux is a Python as good as any.
        assert!(read(LIST, "x86_64").values().all(|python| !python.restarts));
    }

    #[test]
    fn the_programs_that_would_open_a_window_are_left_out_on_a_mac() {
        let places = ["/opt/homebrew/bin", "/usr/bin", "/bin", "/usr/bin"].map(PathBuf::from);
        let left = ["/opt/homebrew/bin", "/bin", DEVELOPER_TOOLS].map(PathBuf::from);
        assert_eq!(without_stubs(places.to_vec()), left);
    }

    #[test]
    fn a_relative_path_is_below_where_uv_ran() {
        let list = LIST.replace("/opt/python/3.13.0/", "pythons/3.13.0/");
        let chosen = read_list(&list, "x86_64", Path::new("/state"), Path::to_owned).unwrap();
        assert_eq!(chosen[&13].path, Path::new("/state/pythons/3.13.0/bin/python3.13"));
    }

    #[test]
    fn interpreters_for_another_processor_are_left_out() {
        assert!(read(LIST, "aarch64").is_empty());
    }

    #[test]
    fn an_answer_that_is_no_list_is_an_error() {
        assert!(matches!(
            read_list("{}", "x86_64", Path::new("/"), real),
            Err(EnvError::Answer { .. })
        ));
    }

    #[test]
    fn any_version_means_the_preferred_one_else_the_newest() {
        let chosen = read(LIST, "x86_64");
        let preferred = Pythons::new(chosen.clone(), Some(11));
        assert_eq!(preferred.find(PythonVersion::Any).unwrap().0, 11);
        let without = Pythons::new(chosen, Some(9));
        assert_eq!(without.find(PythonVersion::Any).unwrap().0, 13);
        assert_eq!(without.find(PythonVersion::Minor(8)).unwrap().0, 8);
    }

    #[test]
    fn a_missing_version_names_what_there_is() {
        let pythons = Pythons::new(read(LIST, "x86_64"), None);
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
