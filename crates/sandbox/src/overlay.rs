//! Several directories as one, by overlayfs.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

/// A file system of several directories.
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

impl Overlay {
    /// Mounts it, in the mount namespace of this process.
    ///
    /// # Errors
    /// When a directory is not there, or the system refuses.
    pub fn mount(&self) -> io::Result<()> {
        // The kernel takes one page of options. Names by descriptor are short, and have no characters
        // in them that mean something there.
        let mut open = Vec::new();
        let mut name = |path: &Path| -> io::Result<String> {
            let mut options = OpenOptions::new();
            options.read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY);
            let file = options.open(path)?;
            let name = format!("/proc/self/fd/{}", file.as_raw_fd());
            open.push(file);
            Ok(name)
        };
        let lower = self.lower.iter().map(|path| name(path)).collect::<io::Result<Vec<_>>>()?;
        let (upper, work) = (name(&self.upper)?, name(&self.work)?);
        let options = format!("lowerdir={},upperdir={upper},workdir={work}", lower.join(":"));
        let (kind, options) = (Some("overlay"), OsString::from(options));
        let options = Some(options.as_os_str());
        Ok(mount(kind, &self.target, kind, MsFlags::MS_NODEV | MsFlags::MS_NOSUID, options)?)
    }
}
