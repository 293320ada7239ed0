//! Unpacking a code archive that somebody else made.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

/// File type bits of a Unix mode, and the types that are unpacked.
const TYPE_BITS: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

/// How large an archive's content may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) entries: usize,
    /// Unpacked bytes of all files, counted as they are written.
    pub(crate) bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries: 200_000, bytes: 8 * 1024 * 1024 * 1024 }
    }
}

/// Why an archive is not unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("it is not a zip archive that can be read")]
    Archive(#[source] ZipError),
    #[error("its entry number {0} cannot be read")]
    Entry(usize, #[source] ZipError),
    #[error("its entry `{0}` would be written outside of the code directory")]
    Outside(String),
    #[error("its entry `{0}` is neither a file nor a directory")]
    Kind(String),
    #[error("it has {found} entries, more than the limit of {limit}")]
    Entries { found: usize, limit: usize },
    #[error("its files are larger than the limit of {0} bytes")]
    Size(u64),
    #[error("could not write `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Unpacks `archive` into `target`, which is made. What was written before an error stays.
pub(crate) fn unpack(archive: &Path, target: &Path, bounds: Bounds) -> Result<(), UnpackError> {
    let opened = File::open(archive).map_err(|error| UnpackError::Archive(error.into()))?;
    let mut archive = ZipArchive::new(BufReader::new(opened)).map_err(UnpackError::Archive)?;
    let limit = bounds.entries;
    if archive.len() > limit {
        return Err(UnpackError::Entries { found: archive.len(), limit });
    }
    make_directory(target)?;
    let mut left = bounds.bytes;
    for number in 0..archive.len() {
        let mut entry =
            archive.by_index(number).map_err(|error| UnpackError::Entry(number, error))?;
        let name = entry.name().map_err(|error| UnpackError::Entry(number, error))?.into_owned();
        let path = target.join(inside(&name).ok_or_else(|| UnpackError::Outside(name.clone()))?);
        let mode = entry.unix_mode().unwrap_or(0);
        match (mode & TYPE_BITS, entry.is_dir()) {
            (0 | DIRECTORY, true) => make_directory(&path)?,
            (0 | REGULAR, false) => {
                if let Some(parent) = path.parent() {
                    make_directory(parent)?;
                }
                left = write(&mut entry, &path, mode, left, bounds.bytes)?;
            }
            _ => return Err(UnpackError::Kind(name)),
        }
    }
    Ok(())
}

/// The relative path an entry's name stands for; nothing if it could lead elsewhere.
fn inside(name: &str) -> Option<PathBuf> {
    // A backslash is a separator to some who make archives: `..\x` must not slip through.
    if name.is_empty() || name.contains(['\0', '\\']) {
        return None;
    }
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

fn make_directory(path: &Path) -> Result<(), UnpackError> {
    fs::create_dir_all(path).map_err(|source| UnpackError::Write { path: path.to_owned(), source })
}

/// Writes one file and returns how many bytes are left to the others.
fn write(
    entry: &mut impl Read,
    path: &Path,
    mode: u32,
    left: u64,
    limit: u64,
) -> Result<u64, UnpackError> {
    let failed = |source| UnpackError::Write { path: path.to_owned(), source };
    let executable = mode & 0o111 != 0;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let mut file =
        options.mode(if executable { 0o755 } else { 0o644 }).open(path).map_err(failed)?;
    // One byte more than allowed is asked for, since an archive's own sizes can lie.
    let written = io::copy(&mut entry.take(left.saturating_add(1)), &mut file).map_err(failed)?;
    left.checked_sub(written).ok_or(UnpackError::Size(limit))
}

#[cfg(test)]
mod tests;
