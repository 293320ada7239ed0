//! The repository's text files.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Directories that hold nothing we wrote.
const SKIPPED: [&str; 10] = [
    ".git",
    "target",
    ".venv",
    ".metal9",
    "__pycache__",
    ".pytest_cache",
    "node_modules",
    ".ruff_cache",
    // What the fuzzer keeps.
    "corpus",
    "artifacts",
];

/// A text file.
pub(super) struct TextFile {
    /// Relative to the top of the repository, with `/` between the parts.
    pub(super) path: String,
    pub(super) text: String,
}

impl TextFile {
    pub(super) fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|have| have == extension)
    }

    pub(super) fn is_below(&self, directory: &str) -> bool {
        self.path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// Every text file of the repository, sorted by path.
pub(super) struct Repository {
    pub(super) files: Vec<TextFile>,
}

impl Repository {
    /// Reads the repository at `root`.
    ///
    /// # Errors
    ///
    /// If a directory or file cannot be read.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        collect(root, "", &mut files)?;
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Self { files })
    }

    pub(super) fn get(&self, path: &str) -> Option<&TextFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

fn collect(directory: &Path, prefix: &str, files: &mut Vec<TextFile>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", directory.display()))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().with_context(|| format!("cannot look at {path}"))?;
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
            collect(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).with_context(|| format!("cannot read {path}"))?;
            files.extend(String::from_utf8(bytes).ok().map(|text| TextFile { path, text }));
        }
    }
    Ok(())
}
