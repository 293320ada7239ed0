//! Mounts the layers of an image as one file system.

use std::path::{Path, PathBuf};

use crate::RootfsError;

/// A file system that is to be mounted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overlay {
    /// Directories that are read only, the top one first; at least one.
    pub lower: Vec<PathBuf>,
    /// The directory that gets all that is written.
    pub upper: PathBuf,
    /// An empty directory on the same file system as `upper`, for overlayfs itself.
    pub work: PathBuf,
    /// The directory that it is mounted at.
    pub target: PathBuf,
}

/// A file system that is mounted. Unmounted when dropped, as soon as nobody uses it any more.
#[derive(Debug)]
#[must_use = "it is unmounted when dropped"]
pub struct Mounted {
    target: Option<PathBuf>,
}

impl Mounted {
    /// Where it is mounted.
    #[must_use]
    pub fn target(&self) -> &Path {
        self.target.as_deref().unwrap_or_else(|| Path::new(""))
    }

    /// Unmounts it, and says whether that worked.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn unmount(mut self) -> Result<(), RootfsError> {
        self.target.take().map_or(Ok(()), |target| system::unmount(&target))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(target) = self.target.take()
            && let Err(error) = system::unmount(&target)
        {
            tracing::warn!(target = %target.display(), %error, "could not unmount a root file system");
        }
    }
}

impl Overlay {
    /// Mounts it, in the mount namespace of this process.
    ///
    /// # Errors
    /// When a directory is not there, or the system refuses.
    pub fn mount(&self) -> Result<Mounted, RootfsError> {
        system::mount(self)?;
        Ok(Mounted { target: Some(self.target.clone()) })
    }
}

/// Unmounts all that is mounted at or below a directory, as a killed process leaves it. Returns where
/// something was mounted.
///
/// # Errors
/// When the list of mounts cannot be read, or the system refuses.
pub fn leftovers(directory: &Path) -> Result<Vec<PathBuf>, RootfsError> {
    system::leftovers(directory)
}

#[cfg(target_os = "linux")]
mod system {
    use std::ffi::OsString;
    use std::fs::{self, OpenOptions};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::{Path, PathBuf};

    use nix::libc::{O_DIRECTORY, O_PATH};
    use nix::mount::{MntFlags, MsFlags, umount2};

    use super::Overlay;
    use crate::{RootfsError, mountinfo};

    /// The kernel takes one page of options. Names by descriptor are short, and have no characters
    /// in them that mean something there.
    pub(super) fn mount(overlay: &Overlay) -> Result<(), RootfsError> {
        let mut open = Vec::new();
        let mut name = |path: &Path| -> Result<String, RootfsError> {
            let mut options = OpenOptions::new();
            options.read(true).custom_flags(O_PATH | O_DIRECTORY);
            let file = options.open(path).map_err(RootfsError::files("mount", path))?;
            let name = format!("/proc/self/fd/{}", file.as_raw_fd());
            open.push(file);
            Ok(name)
        };
        let lower = overlay.lower.iter().map(|path| name(path)).collect::<Result<Vec<_>, _>>()?;
        let (upper, work) = (name(&overlay.upper)?, name(&overlay.work)?);
        let options = format!("lowerdir={},upperdir={upper},workdir={work}", lower.join(":"));
        let kind = Some("overlay");
        let mounted = nix::mount::mount(
            kind,
            &overlay.target,
            kind,
            MsFlags::MS_NODEV,
            Some(OsString::from(options).as_os_str()),
        );
        mounted.map_err(|error| RootfsError::files("mount", &overlay.target)(error.into()))
    }

    pub(super) fn unmount(target: &Path) -> Result<(), RootfsError> {
        let flags = MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
        umount2(target, flags).map_err(|error| RootfsError::files("unmount", target)(error.into()))
    }

    pub(super) fn leftovers(directory: &Path) -> Result<Vec<PathBuf>, RootfsError> {
        let Ok(directory) = directory.canonicalize() else { return Ok(Vec::new()) };
        let path = Path::new("/proc/self/mountinfo");
        let list = fs::read(path).map_err(RootfsError::files("read", path))?;
        let found = mountinfo::below(&list, &directory);
        found.iter().try_for_each(|target| unmount(target))?;
        Ok(found)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::path::{Path, PathBuf};

    use super::Overlay;
    use crate::RootfsError;

    fn missing() -> RootfsError {
        let why = "overlay file systems are Linux's".to_owned();
        RootfsError::Unsupported { what: "root file systems from images", why }
    }

    pub(super) fn mount(_: &Overlay) -> Result<(), RootfsError> {
        Err(missing())
    }

    pub(super) fn unmount(_: &Path) -> Result<(), RootfsError> {
        Err(missing())
    }

    pub(super) fn leftovers(_: &Path) -> Result<Vec<PathBuf>, RootfsError> {
        Ok(Vec::new())
    }
}
