//! Keeping jobs from the control file.
//!
//! JuiceFS answers to the name `.control` in every directory, to everybody: who opens that file can
//! have files removed, cloned and described by their numbers, wherever in the file system they are. No
//! option takes it away, and it cannot be covered in each directory. But it is one inode, so the
//! kernel can be told to ask before anybody opens it, and the answer is no.

use std::io;
use std::path::Path;
use std::sync::Arc;

/// The file.
const NAME: &str = ".control";

/// As long as this is there, nobody opens the control file of one file system, by whatever mount.
#[derive(Debug)]
pub(crate) struct Shut(
    #[cfg_attr(target_os = "linux", expect(dead_code, reason = "what counts is that it is there"))]
    imp::Watch,
);

impl Shut {
    /// Shuts the control file of what is mounted at `root`; nothing if it has none.
    ///
    /// # Errors
    /// When the system cannot, or this user may not.
    pub(crate) fn at(root: &Path) -> io::Result<Option<Arc<Self>>> {
        let file = root.join(NAME);
        match file.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(_) => imp::Watch::start(&file).map(|watch| Some(Arc::new(Self(watch)))),
        }
    }
}

/// Why this process cannot shut control files; nothing if it can.
pub(crate) fn obstacle() -> Option<String> {
    let error = imp::try_it().err()?;
    Some(format!("jobs could not be kept from JuiceFS' control file ({error})"))
}

#[cfg(target_os = "linux")]
mod imp {
    use std::io;
    use std::os::fd::AsFd;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use nix::errno::Errno;
    use nix::fcntl::AT_FDCWD;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::fanotify::{
        EventFFlags, Fanotify, FanotifyResponse, InitFlags, MarkFlags, MaskFlags, Response,
    };

    /// How often to look whether it is still wanted, in milliseconds.
    const LOOK_EVERY: u16 = 1000;

    fn group() -> nix::Result<Fanotify> {
        let flags = InitFlags::FAN_CLASS_CONTENT | InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK;
        Fanotify::init(flags, EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC)
    }

    pub(super) fn try_it() -> io::Result<()> {
        Ok(group().map(drop)?)
    }

    /// A thread that says no. If it came to grief, those who ask would wait for ever: the group
    /// lives as long as this does.
    #[derive(Debug)]
    pub(super) struct Watch {
        _group: Arc<Fanotify>,
        over: Arc<AtomicBool>,
    }

    impl Watch {
        pub(super) fn start(file: &Path) -> io::Result<Self> {
            let group = Arc::new(group()?);
            let mask = MaskFlags::FAN_OPEN_PERM;
            group.mark(MarkFlags::FAN_MARK_ADD, mask, AT_FDCWD, Some(file))?;
            let over = Arc::new(AtomicBool::new(false));
            let (asked, done) = (Arc::clone(&group), Arc::clone(&over));
            let answer = move || {
                while !done.load(Ordering::Relaxed) {
                    refuse(&asked);
                }
            };
            std::thread::Builder::new().name("juicefs-control".to_owned()).spawn(answer)?;
            Ok(Self { _group: group, over })
        }
    }

    impl Drop for Watch {
        fn drop(&mut self) {
            self.over.store(true, Ordering::Relaxed);
        }
    }

    fn refuse(group: &Fanotify) {
        let mut waited = [PollFd::new(group.as_fd(), PollFlags::POLLIN)];
        if !matches!(poll(&mut waited, PollTimeout::from(LOOK_EVERY)), Ok(count) if count > 0) {
            return;
        }
        match group.read_events() {
            Ok(events) => {
                for event in &events {
                    let Some(file) = event.fd() else { continue };
                    let pid = event.pid();
                    tracing::warn!(pid, "refused to open JuiceFS' control file");
                    let no = FanotifyResponse::new(file, Response::FAN_DENY);
                    if let Err(error) = group.write_response(no) {
                        tracing::warn!(%error, "cannot refuse to open JuiceFS' control file");
                    }
                }
            }
            // The kernel refuses by itself what it cannot ask about.
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => tracing::debug!(%error, "a question about a control file"),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;
    use std::path::Path;

    pub(super) fn try_it() -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no means for it"))
    }

    #[derive(Debug)]
    pub(super) struct Watch;

    impl Watch {
        pub(super) fn start(_: &Path) -> io::Result<Self> {
            try_it().map(|()| Self)
        }
    }
}
