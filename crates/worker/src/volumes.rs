//! The volumes of a container.

pub(crate) mod blobs;
pub(crate) mod copy;
pub(crate) mod ground;
pub(crate) mod own;

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use metal9_sandbox::VolumePaths;
use metal9_types::{Failure, FailureKind, VolumeId};
use metal9_volume::MountPath;

use crate::buckets::BucketCopy;
use crate::errors::chain;
use crate::output::Sink;
use crate::runner::ContainerDirectory;
use copy::{CopyError, VolumeCopy};
use ground::Ground;

/// How long a file system may take to answer.
const SEEN_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of a marker at most.
const MARKER_BYTES: u64 = 1024;

/// A volume of a container.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mount {
    pub(crate) volume: VolumeId,
    /// For messages.
    pub(crate) name: String,
    /// Where the job finds it.
    pub(crate) place: MountPath,
}

/// Where the gateway has its volumes, and how to know whether that is a disk of this machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SharedDisk {
    pub(crate) root: PathBuf,
    /// What the file `.marker` says there.
    pub(crate) marker: String,
}

impl SharedDisk {
    /// Whether this machine sees the gateway's volumes: the text is random and known only to those
    /// who can read the file, or were told by the gateway.
    pub(crate) fn is_here(&self) -> bool {
        if self.marker.is_empty() || !self.root.is_absolute() {
            return false;
        }
        let mut text = String::new();
        let read = fs::File::open(self.root.join(".marker"))
            .and_then(|file| file.take(MARKER_BYTES).read_to_string(&mut text));
        read.is_ok() && text == self.marker
    }

    /// The directory of a volume.
    pub(crate) fn directory(&self, volume: VolumeId) -> PathBuf {
        self.root.join(volume.to_string())
    }
}

/// A container's copies of volumes and buckets, and the directory that they are in.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    pub(crate) volumes: Vec<VolumeCopy>,
    pub(crate) buckets: Vec<BucketCopy>,
    pub(crate) directory: Option<ContainerDirectory>,
    /// Of a call that works with them, whose changes have yet to be sent.
    pub(crate) owed: Option<Sink>,
    /// What its volumes stand on that are no copies.
    pub(crate) ground: Ground,
    /// Directories of those whose files the container itself keeps open after its programs have closed
    /// them, on a file system where others see what is closed.
    pub(crate) late: Vec<PathBuf>,
}

/// Whether this machine sees a disk, asked on a thread: a file system that hangs must not hold up
/// others.
pub(crate) async fn sees(disk: &SharedDisk) -> Result<bool, Failure> {
    let disk = disk.clone();
    let asking = tokio::task::spawn_blocking(move || disk.is_here());
    match tokio::time::timeout(SEEN_WITHIN, asking).await {
        Ok(seen) => Ok(seen.unwrap_or(false)),
        Err(_) => Err(silent()),
    }
}

/// The file system that the volumes are on does not answer.
pub(crate) fn silent() -> Failure {
    let text = format!(
        "the file system of the volumes has not answered for {SEEN_WITHIN:?}; is the server of its \
         metadata up?"
    );
    Failure::new(FailureKind::Setup, text)
}

/// A volume's directory on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    pub(crate) directory: PathBuf,
    pub(crate) place: MountPath,
    /// `true` if the job may not write there.
    pub(crate) read_only: bool,
}

impl Mounted {
    /// Where the job finds it, besides the directory itself, as the file rules want it: also by the
    /// absolute path of a place below the code, where that `can_be`.
    pub(crate) fn rule(&self, can_be: impl Fn(&Path) -> bool) -> VolumePaths {
        let path = self.place.absolute();
        let wanted = matches!(self.place, MountPath::Absolute(_));
        let elsewhere = (wanted || can_be(&path)).then_some(path);
        VolumePaths { directory: self.directory.clone(), elsewhere, read_only: self.read_only }
    }

    /// Links a place below the code to the directory. What the code has there is covered, as by a
    /// mount; it is the container's own copy.
    pub(crate) fn link(&self, code: &Path) -> io::Result<()> {
        let MountPath::Code(path) = &self.place else { return Ok(()) };
        let link = code.join(path.as_str());
        match fs::symlink_metadata(&link) {
            Ok(there) if there.is_dir() => fs::remove_dir_all(&link)?,
            Ok(_) => fs::remove_file(&link)?,
            Err(_) => {}
        }
        if let Some(parent) = link.parent() {
            fs::create_dir_all(parent)?;
        }
        symlink(&self.directory, link)
    }
}

/// A copy could not be made or written back.
pub(crate) fn not_copied(error: &CopyError) -> Failure {
    Failure::new(FailureKind::Setup, chain(error))
}

/// The places of a container's volumes below its code could not be made.
pub(crate) fn not_linked(error: &io::Error) -> Failure {
    Failure::new(FailureKind::Setup, format!("a volume could not be mounted: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_shared_if_its_marker_says_what_the_gateway_told() {
        let root = tempfile::tempdir().unwrap();
        let disk = |marker: &str| SharedDisk { root: root.path().into(), marker: marker.into() };
        assert!(!disk("abc").is_here());
        fs::write(root.path().join(".marker"), "abc").unwrap();
        assert!(disk("abc").is_here());
        assert!(!disk("abd").is_here() && !disk("").is_here());
        assert!(!SharedDisk::default().is_here());
    }

    #[test]
    fn a_volume_covers_what_the_code_has_at_its_place() {
        let root = tempfile::tempdir().unwrap();
        let (code, directory) = (root.path().join("code"), root.path().join("volume"));
        fs::create_dir_all(code.join("data/old")).unwrap();
        fs::create_dir_all(&directory).unwrap();
        for (index, place) in ["data", "new/deep/place"].into_iter().enumerate() {
            let place = MountPath::parse(place).unwrap();
            let mounted = Mounted { directory: directory.clone(), place, read_only: false };
            mounted.link(&code).unwrap();
            fs::write(directory.join(index.to_string()), "x").unwrap();
        }
        assert!(code.join("data/1").exists() && code.join("new/deep/place/0").exists());
        assert!(!code.join("data/old").exists());
    }
}
