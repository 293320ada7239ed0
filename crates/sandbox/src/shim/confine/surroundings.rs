//! What an OCI runtime is started in: a network that the container is to have, and a directory that
//! is to be the container's root, which nobody else sees.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, umask};

use super::network;
use crate::isolation::{FileRule, Network, Step};
use crate::launch::Launch;
use crate::oci::{Container, RootFiles, UserRange};
use crate::overlay::Overlay;
use crate::shim::receive::{Control, send_with};
use crate::wire::Reply;

/// Directories that machines have and jobs rarely use, of which one is covered.
const PLACES: [&str; 5] = ["/mnt", "/media", "/srv", "/home", "/opt"];

const NOTHING: Option<&str> = None;

/// Where the root is put together: a directory of the machine, covered by an empty file system that
/// only the runtime sees. It can be entered by anyone, unlike where the worker keeps its files.
#[derive(Clone, Debug)]
pub(in crate::shim) struct Place(PathBuf);

impl Place {
    /// The container's root.
    pub(in crate::shim) fn root(&self) -> PathBuf {
        self.0.join("root")
    }
}

/// What the process does before it becomes the runtime.
pub(in crate::shim) struct Surroundings {
    network: Network,
    place: Place,
    /// The namespace of a network that the worker has made.
    given: Option<File>,
    users: Option<UserRange>,
    files: RootFiles,
    layers: Vec<PathBuf>,
    /// The bundle, if it is to be seen where the root is.
    bundle: Option<PathBuf>,
    control: OwnedFd,
}

impl Surroundings {
    /// A place that hides nothing which the container needs.
    pub(in crate::shim) fn place(files: &[FileRule], container: &Container) -> io::Result<Place> {
        let mut used: Vec<&Path> = files.iter().map(|rule| rule.source.as_path()).collect();
        used.push(&container.directory);
        used.extend(container.layers.iter().map(PathBuf::as_path));
        let is_free = |place: &&&str| {
            Path::new(place).is_dir() && !used.iter().any(|path| path.starts_with(place))
        };
        let place = PLACES.iter().find(is_free);
        let none = || io::Error::other("every directory that could be covered is in use");
        place.map(|place| Place(PathBuf::from(place))).ok_or_else(none)
    }

    pub(in crate::shim) fn new(
        launch: &Launch,
        container: &Container,
        place: Place,
        files: RootFiles,
        control: &Control,
    ) -> io::Result<Self> {
        let network = launch.isolation.as_ref().map_or_else(Network::default, |it| it.network);
        let control = control.as_fd().try_clone_to_owned()?;
        let users = container.users;
        let given = container.network.as_ref().map(File::open).transpose()?;
        let layers = container.layers.clone();
        let bundle = container.has_hooks().then(|| container.bundle());
        Ok(Self { network, place, given, users, files, layers, bundle, control })
    }

    /// Where the runtime finds the bundle: beside the root for a container with hooks, since those read it
    /// and, as a user of the container, do not get to where the worker has it.
    pub(in crate::shim) fn bundle(&self, container: &Container) -> PathBuf {
        match self.bundle {
            Some(_) => self.place.0.join("bundle"),
            None => container.bundle(),
        }
    }

    /// Makes them. What failed is told to the worker before the error is returned.
    pub(in crate::shim) fn enter(&self) -> io::Result<()> {
        self.steps().map_err(|(step, error)| {
            let number = step.with(error.raw_os_error().unwrap_or(libc::EIO));
            // The worker may be gone, and then nobody wants to know.
            let _ = send_with(&self.control, Reply::NotIsolated(number), &[]);
            error
        })
    }

    fn steps(&self) -> Result<(), super::Failed> {
        let (given, apart) = (self.given.as_ref(), self.network != Network::Full);
        let mut flags = CloneFlags::CLONE_NEWNS;
        if apart {
            flags |= CloneFlags::CLONE_NEWNET;
        }
        unshare(flags).map_err(|errno| (Step::Namespaces, errno.into()))?;
        if let Some(given) = given.filter(|_| !apart) {
            setns(given, CloneFlags::CLONE_NEWNET)
                .map_err(|error| (Step::Network, error.into()))?;
        }
        if apart || given.is_some() {
            // From a network of its own the gateway may be out of reach, too.
            let policy = if apart { self.network } else { Network::GatewayOnly };
            let sockets = network::set_up(policy).map_err(|error| (Step::Network, error))?;
            let count = i32::try_from(sockets.len()).unwrap_or(0);
            send_with(&self.control, Reply::Listening(count), &sockets)
                .map_err(|error| (Step::Network, error))?;
        }
        let mask = umask(Mode::S_IWGRP | Mode::S_IWOTH);
        self.make_root().map_err(|error| (Step::View, error))?;
        umask(mask);
        Ok(())
    }

    fn make_root(&self) -> io::Result<()> {
        // Nothing that happens in here reaches the machine, and the other way round.
        mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let base = &self.place.0;
        mount(Some("tmpfs"), base, Some("tmpfs"), flags, Some("mode=0755,size=16m"))?;
        let root = self.place.root();
        fs::create_dir(&root)?;
        if let Some(bundle) = &self.bundle {
            let beside = base.join("bundle");
            fs::create_dir(&beside)?;
            mount(Some(bundle), &beside, NOTHING, MsFlags::MS_BIND, NOTHING)?;
        }
        // What is added to layers is made before they are there: nothing in them can lead it elsewhere.
        let upper = if self.layers.is_empty() { root.clone() } else { base.join("upper") };
        if !self.layers.is_empty() {
            fs::create_dir(&upper)?;
        }
        let inside = |path: &Path| upper.join(path.strip_prefix("/").unwrap_or(path));
        for directory in &self.files.directories {
            fs::create_dir_all(inside(directory))?;
        }
        for (path, source) in &self.files.copies {
            let path = inside(path);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            // One that has gone meanwhile is as if it had never been.
            if let Ok(content) = fs::read(source) {
                fs::write(path, content)?;
            }
        }
        for (path, target) in &self.files.links {
            let path = inside(path);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            symlink(target, path)?;
        }
        // Its root makes the places for mounts.
        self.users.map_or(Ok(()), |users| hand_over(&upper, users))?;
        if self.layers.is_empty() {
            return Ok(());
        }
        let work = base.join("work");
        fs::create_dir(&work)?;
        Overlay { lower: self.layers.clone(), upper, work, target: root }.mount()
    }
}

/// Makes a directory and all below that of a user who is root in a container.
fn hand_over(path: &Path, users: UserRange) -> io::Result<()> {
    lchown(path, Some(users.first), Some(users.first))?;
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            hand_over(&entry?.path(), users)?;
        }
    }
    Ok(())
}
