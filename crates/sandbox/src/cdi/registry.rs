//! The files of a machine, and what they say of a device.

use std::fs;
use std::path::{Path, PathBuf};

use super::edits::{Edits, Maker};
use super::node::Node;
use super::spec::{Device, Spec};

/// Why a container cannot be given a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CdiError {
    /// No file names it.
    #[error("no file in {} names `{name}`{}", places(directories), unread(problems))]
    Unknown {
        /// The device.
        name: String,
        /// Where was looked.
        directories: Vec<PathBuf>,
        /// Files that could not be read, and why.
        problems: Vec<String>,
    },
    /// Two files name it, and none goes first.
    #[error("`{}` and `{}` both name `{name}`", one.display(), other.display())]
    Ambiguous {
        /// The device.
        name: String,
        /// A file.
        one: PathBuf,
        /// Another of the same directory.
        other: PathBuf,
    },
    /// A node that it needs is not there.
    #[error("`{name}` needs `{}`, which is no device on this machine", path.display())]
    NoNode {
        /// The device.
        name: String,
        /// The node.
        path: PathBuf,
    },
    /// A file says something that makes no sense, or cannot be done.
    #[error("what is said of `{name}` cannot be done: {what}")]
    Nonsense {
        /// The device.
        name: String,
        /// What.
        what: String,
    },
}

fn places(directories: &[PathBuf]) -> String {
    let texts: Vec<String> =
        directories.iter().map(|path| format!("`{}`", path.display())).collect();
    texts.join(" or ")
}

fn unread(problems: &[String]) -> String {
    if problems.is_empty() { String::new() } else { format!(" ({})", problems.join("; ")) }
}

/// What the files of a machine say.
#[derive(Debug, Default)]
pub struct Registry {
    directories: Vec<PathBuf>,
    /// With the place of the directory that the file is in: later ones go first.
    files: Vec<(usize, PathBuf, Spec)>,
    problems: Vec<String>,
}

impl Registry {
    /// Reads the files of these directories, of which a later one goes before those ahead of it.
    /// Files that make no sense are told of where a device is not found.
    #[must_use]
    pub fn read(directories: &[PathBuf]) -> Self {
        let mut registry = Self { directories: directories.to_vec(), ..Self::default() };
        for (place, directory) in directories.iter().enumerate() {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            paths.sort_unstable();
            for path in paths {
                let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
                if !matches!(extension, "json" | "yaml" | "yml") {
                    continue;
                }
                let is_json = extension == "json";
                let read = fs::read_to_string(&path).map_err(|error| error.to_string());
                match read.and_then(|text| Spec::read(&text, is_json)) {
                    Ok(spec) => registry.files.push((place, path, spec)),
                    Err(error) => {
                        let error = error.lines().next().unwrap_or_default();
                        registry.problems.push(format!("`{}`: {error}", path.display()));
                    }
                }
            }
        }
        registry
    }

    /// What a container needs for these devices, each named `vendor/class=name`. `node` says what is at
    /// a path of the machine.
    ///
    /// # Errors
    ///
    /// If one of them is not named, or the machine lacks something.
    pub fn edits(
        &self,
        names: &[String],
        node: &dyn Fn(&Path) -> Option<Node>,
    ) -> Result<Edits, CdiError> {
        let mut maker = Maker::new(node);
        for name in names {
            let (place, spec, device) = self.find(name)?;
            maker.add(name, place, spec, device)?;
        }
        Ok(maker.made())
    }

    fn find(&self, name: &str) -> Result<(usize, &Spec, &Device), CdiError> {
        let (kind, own) = name.split_once('=').unwrap_or((name, ""));
        let mut found: Option<(usize, usize, &Device)> = None;
        for (index, (place, path, spec)) in self.files.iter().enumerate() {
            if spec.kind != kind {
                continue;
            }
            let Some(device) = spec.devices.iter().find(|device| device.name == own) else {
                continue;
            };
            if let Some((_, one, _)) = found.filter(|(before, ..)| before == place) {
                return Err(CdiError::Ambiguous {
                    name: name.to_owned(),
                    one: self.files[one].1.clone(),
                    other: path.clone(),
                });
            }
            // Files are in the order of their directories.
            found = Some((*place, index, device));
        }
        found.map(|(_, index, device)| (index, &self.files[index].2, device)).ok_or_else(|| {
            CdiError::Unknown {
                name: name.to_owned(),
                directories: self.directories.clone(),
                problems: self.problems.clone(),
            }
        })
    }
}
