//! A writable copy of a directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why a directory could not be copied.
#[derive(Debug, thiserror::Error)]
#[error("could not copy `{}`", path.display())]
pub(crate) struct CopyError {
    path: PathBuf,
    source: io::Error,
}

/// Copies all files and directories below `source` into `target`, which is made if it is not there.
/// Only regular files and directories are there to be copied: unpacking refused everything else.
pub(crate) fn tree(source: &Path, target: &Path) -> Result<(), CopyError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CopyError { path, source }
    };
    fs::create_dir_all(target).map_err(failed(target))?;
    let mut below = vec![PathBuf::new()];
    while let Some(directory) = below.pop() {
        let from = source.join(&directory);
        for entry in fs::read_dir(&from).map_err(failed(&from))? {
            let entry = entry.map_err(failed(&from))?;
            let path = directory.join(entry.file_name());
            let (from, to) = (source.join(&path), target.join(&path));
            if entry.file_type().map_err(failed(&from))?.is_dir() {
                fs::create_dir(&to).map_err(failed(&to))?;
                below.push(path);
            } else {
                fs::copy(&from, &to).map_err(failed(&from))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_copy_is_complete_and_its_own() {
        let root = tempfile::tempdir().unwrap();
        let source = root.path().join("source");
        fs::create_dir_all(source.join("a/b")).unwrap();
        fs::write(source.join("a/b/run.sh"), "echo").unwrap();
        fs::set_permissions(source.join("a/b/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(source.join("app.py"), "x = 1").unwrap();
        let target = root.path().join("target");
        tree(&source, &target).unwrap();
        fs::write(target.join("app.py"), "x = 2").unwrap();
        assert_eq!(fs::read_to_string(source.join("app.py")).unwrap(), "x = 1");
        let mode = fs::metadata(target.join("a/b/run.sh")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }
}
