//! Where a process listens. The address of a Unix socket is short, and a state directory need not
//! be.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The longest address that every system takes, in bytes: macOS has 104 with the zero at its end.
const LONGEST: usize = 103;

/// The path to connect to.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// A link that shortens it; removed with this.
    link: Option<PathBuf>,
}

/// What a process of a container listens on, below the container's directory.
fn name(process: u32) -> String {
    format!("http-{process}.sock")
}

impl Place {
    /// The socket of a process.
    pub(super) fn of(directory: &Path, process: u32) -> io::Result<Self> {
        let path = directory.join(name(process));
        if path.as_os_str().len() <= LONGEST {
            return Ok(Self { path, link: None });
        }
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let link = PathBuf::from(format!("/tmp/.metal9-{}-{number}", std::process::id()));
        symlink(directory, &link)?;
        Ok(Self { path: link.join(name(process)), link: Some(link) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            let _ = std::fs::remove_file(link);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_socket_is_reached_however_long_its_path_is() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("d".repeat(120));
        std::fs::create_dir(&directory).unwrap();
        let place = Place::of(&directory, 0).unwrap();
        let link = place.path().parent().unwrap().to_owned();
        let _listener = UnixListener::bind(place.path()).unwrap();
        assert!(directory.join("http-0.sock").exists());
        UnixStream::connect(place.path()).unwrap();
        drop(place);
        assert!(!link.exists());
    }
}
