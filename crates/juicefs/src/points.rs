//! Mount points: whether something is mounted, taking it away, and whether what one stands on is
//! still the same.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::control::Shut;

/// Mounts that may lie one on the other at a point.
const DEEPEST: usize = 16;

/// How long a file system may take to say that it is there.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Whether something is mounted at this very place. Does not ask the file system, which may hang.
pub(crate) fn is_mounted(point: &Path) -> bool {
    match std::fs::read_to_string("/proc/self/mountinfo") {
        Ok(mountinfo) => is_in(&mountinfo, point),
        // A Mac has no such file, and its file systems of users' programs answer or are gone.
        Err(_) => {
            let device = |path: &Path| path.metadata().map(|it| it.dev()).ok();
            let above = point.parent().and_then(device);
            point.symlink_metadata().is_err() || device(point) != above
        }
    }
}

fn is_in(mountinfo: &str, point: &Path) -> bool {
    let mut points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    points.any(|there| Path::new(&there.replace("\\040", " ")) == point)
}

/// Takes away what is mounted at a place, dead or alive. Who still uses it keeps it until they end.
///
/// # Errors
/// When something stays.
pub(crate) fn clear(point: &Path) -> io::Result<()> {
    let mut last = None;
    for _ in 0..DEEPEST {
        if point.symlink_metadata().is_err_and(|it| it.kind() == io::ErrorKind::NotFound)
            || !is_mounted(point)
        {
            return Ok(());
        }
        if let Err(error) = unmount(point) {
            last = Some(error);
            break;
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("it is still mounted")))
}

#[cfg(target_os = "linux")]
fn unmount(point: &Path) -> io::Result<()> {
    use nix::mount::{MntFlags, umount2};
    match umount2(point, MntFlags::MNT_DETACH) {
        // Whoever may mount by the helper may unmount by it.
        Err(nix::errno::Errno::EPERM) => {
            run(Command::new("fusermount3").args(["-u", "-z"]).arg(point))
        }
        done => done.map_err(io::Error::from),
    }
}

#[cfg(not(target_os = "linux"))]
fn unmount(point: &Path) -> io::Result<()> {
    run(Command::new("umount").arg("-f").arg(point))
}

fn run(command: &mut Command) -> io::Result<()> {
    let ended = command.output()?;
    match ended.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&ended.stderr).trim().to_owned())),
    }
}

/// What a container's volumes stand on: a directory on a file system that may be mounted anew while
/// the container still sees the old, dead one. While it is there, nobody gets at the file by which
/// JuiceFS is told what to do.
#[derive(Clone, Debug)]
pub struct Footing {
    root: PathBuf,
    device: u64,
    _shut: Option<Arc<Shut>>,
}

/// What is shut already, by the file system's number: once is enough for all who stand on it.
static SHUT: Mutex<BTreeMap<u64, Weak<Shut>>> = Mutex::new(BTreeMap::new());

/// How a footing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sound {
    /// As it was.
    Yes,
    /// Gone, or another file system has taken its place.
    No,
    /// It does not answer.
    Unknown,
}

impl Footing {
    /// What is mounted at `root` now; nothing if it is a directory as any other, which stays.
    ///
    /// # Errors
    /// When there is nothing, it does not answer, or its control file cannot be shut.
    pub async fn of(root: &Path) -> io::Result<Option<Self>> {
        let above = device(root.parent().unwrap_or(root)).await?;
        let device = device(root).await?;
        let path = root.to_owned();
        let shut = in_time(move || shut(&path, device)).await?;
        // Somebody may have mounted it above.
        let is_any = device == above && shut.is_none();
        Ok((!is_any).then(|| Self { root: root.to_owned(), device, _shut: shut }))
    }

    /// Whether it is the same file system yet, and answers.
    pub async fn look(&self) -> Sound {
        match device(&self.root).await {
            Ok(device) if device == self.device => Sound::Yes,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Sound::Unknown,
            // What is mounted is there and its server's database is not.
            Err(error) if error.raw_os_error() == Some(nix::libc::EIO) => Sound::Unknown,
            Ok(_) | Err(_) => Sound::No,
        }
    }
}

fn shut(root: &Path, device: u64) -> io::Result<Option<Arc<Shut>>> {
    let mut known = SHUT.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|_, shut| shut.strong_count() > 0);
    if let Some(shut) = known.get(&device).and_then(Weak::upgrade) {
        return Ok(Some(shut));
    }
    let shut = Shut::at(root)?;
    known.extend(shut.iter().map(|shut| (device, Arc::downgrade(shut))));
    Ok(shut)
}

/// The file system's number: each mount has another one.
async fn device(root: &Path) -> io::Result<u64> {
    let path = root.to_owned();
    in_time(move || path.metadata().map(|it| it.dev())).await
}

async fn in_time<T: Send + 'static>(
    ask: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let asking = tokio::task::spawn_blocking(ask);
    match tokio::time::timeout(ANSWER_WITHIN, asking).await {
        Ok(answered) => answered.unwrap_or_else(|error| Err(io::Error::other(error))),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found_at_its_very_place() {
        let mountinfo = "\
30 23 0:26 / /state/juicefs/mnt rw - fuse.juicefs JuiceFS:x rw
31 23 0:26 / /a\\040b/mnt rw - fuse.juicefs JuiceFS:x rw
";
        for (point, there) in
            [("/state/juicefs/mnt", true), ("/a b/mnt", true), ("/state/juicefs", false)]
        {
            assert_eq!(is_in(mountinfo, Path::new(point)), there, "{point}");
        }
    }

    #[test]
    fn nothing_is_cleared_where_nothing_is() {
        let root = tempfile::tempdir().unwrap();
        clear(root.path()).unwrap();
        clear(&root.path().join("missing")).unwrap();
    }

    #[tokio::test]
    async fn a_footing_is_sound_until_its_file_system_is_another() {
        let root = tempfile::tempdir().unwrap();
        assert!(Footing::of(root.path()).await.unwrap().is_none());
        let device = root.path().metadata().unwrap().dev();
        let footing = Footing { root: root.path().to_owned(), device, _shut: None };
        assert_eq!(footing.look().await, Sound::Yes);
        let moved = Footing { device: footing.device + 1, ..footing.clone() };
        assert_eq!(moved.look().await, Sound::No);
        root.close().unwrap();
        assert_eq!(footing.look().await, Sound::No);
    }
}
