//! The Python side of the runner, carried in the program and written out at start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};

static SOURCES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../python/metal9/src");

/// Why the runner's files could not be written.
#[derive(Debug, thiserror::Error)]
#[error("could not write the runner's files to `{}`", path.display())]
pub struct RunnerFilesError {
    /// Where.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Writes the files to a directory of `root` named by their hash, and returns the directory.
///
/// A directory that is there is complete: it gets its name only when all is written.
pub(crate) fn install(root: &Path) -> Result<PathBuf, RunnerFilesError> {
    let files = files(&SOURCES);
    let directory = root.join(hash(&files));
    if directory.is_dir() {
        return Ok(directory);
    }
    write(root, &directory, &files)
        .map_err(|source| RunnerFilesError { path: directory.clone(), source })?;
    Ok(directory)
}

/// The program of the runner below the directory [`install`] gave.
pub(crate) fn program(directory: &Path) -> PathBuf {
    directory.join("metal9/runner/__main__.py")
}

/// All sources in order of their paths; bytecode of the machine that built this is left out.
fn files(directory: &'static Dir<'_>) -> Vec<(&'static Path, &'static [u8])> {
    fn collect(directory: &'static Dir<'_>, into: &mut Vec<(&'static Path, &'static [u8])>) {
        for file in directory.files() {
            if file.path().extension().is_none_or(|extension| extension != "pyc") {
                into.push((file.path(), file.contents()));
            }
        }
        directory.dirs().for_each(|below| collect(below, into));
    }
    let mut found = Vec::new();
    collect(directory, &mut found);
    found.sort();
    found
}

fn hash(files: &[(&Path, &[u8])]) -> String {
    let mut hasher = Sha256::new();
    for (path, content) in files {
        hasher.update(path.as_os_str().as_encoded_bytes());
        hasher.update([0]);
        hasher.update((content.len() as u64).to_be_bytes());
        hasher.update(content);
    }
    hasher.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write(root: &Path, directory: &Path, files: &[(&Path, &[u8])]) -> io::Result<()> {
    let fresh = root.join(format!(".new-{}", std::process::id()));
    match fs::remove_dir_all(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for (path, content) in files {
        let path = fresh.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, content)?;
    }
    fs::create_dir_all(&fresh)?;
    fs::rename(&fresh, directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_is_written_once_and_complete() {
        let root = tempfile::tempdir().unwrap();
        let first = install(root.path()).unwrap();
        assert!(program(&first).is_file());
        assert_eq!(install(root.path()).unwrap(), first);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_hash_tells_names_from_contents() {
        let one = [(Path::new("ab"), b"c".as_slice())];
        let other = [(Path::new("a"), b"bc".as_slice())];
        assert_ne!(hash(&one), hash(&other));
    }
}
