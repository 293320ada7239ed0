//! What the worker has, from its start to its end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::detect::{Controller, Layout};
use super::files::{self, PROCESSES, read, write};
use super::group::{Group, Place, set_weight};

/// The cgroups that this process may make groups in.
#[derive(Debug, Default)]
pub struct Cgroups {
    parents: Vec<Place>,
    /// What cannot be held by cgroups here, and why.
    missing: Vec<(Controller, String)>,
    /// Most processes and threads of a container.
    pids: Option<u64>,
}

impl Cgroups {
    /// None at all.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Makes a group called `name` below this process's own in every hierarchy of use, in which the
    /// groups of containers will be. It gets `cpu_millicores` as its share of the processor.
    ///
    /// Version 2 gives controllers to the groups below a group only if no process is in that group
    /// itself: then this process, and others that run the same program, move to a leaf beside.
    /// Hierarchies that cannot be used are left out; [`Cgroups::missing`] says why.
    #[must_use]
    pub fn open(layout: &Layout, name: &str, pids: Option<u64>, cpu_millicores: u64) -> Self {
        let mut cgroups = Self { parents: Vec::new(), missing: Vec::new(), pids };
        // Version 2 first, since it kills at once.
        if let Some(own) = &layout.v2 {
            cgroups.open_v2(own, name, layout);
        }
        for (own, controllers) in &layout.v1 {
            let directory = own.join(name);
            match make(&directory) {
                Ok(()) => {
                    let (is_v2, controllers) = (false, controllers.clone());
                    cgroups.parents.push(Place { directory, is_v2, controllers });
                }
                Err(error) => {
                    let why = format!("cannot make `{}`: {error}", directory.display());
                    cgroups.missing.extend(controllers.iter().map(|it| (*it, why.clone())));
                }
            }
        }
        for controller in Controller::ALL {
            let known = cgroups.has(controller)
                || cgroups.missing.iter().any(|(missing, _)| *missing == controller);
            if !known {
                let why = "this machine has no such controller for us".to_owned();
                cgroups.missing.push((controller, why));
            }
        }
        for place in cgroups.parents.iter().filter(|it| it.controllers.contains(&Controller::Cpu)) {
            // Without a share for all of them they share one core's worth with everybody else.
            let _ = set_weight(&place.directory, place.is_v2, cpu_millicores);
        }
        cgroups
    }

    fn open_v2(&mut self, own: &Path, name: &str, layout: &Layout) {
        let leaf = format!("{name}-daemon");
        // Whoever was started by one that has moved aside would only move deeper and deeper.
        let own = match own.parent() {
            Some(parent) if own.ends_with(&leaf) => parent,
            _ => own,
        };
        let elsewhere = |controller| layout.v1.iter().any(|(_, list)| list.contains(&controller));
        let mut wanted = Controller::ALL.to_vec();
        wanted.retain(|controller| !elsewhere(*controller));
        let offered = read(own, "cgroup.controllers").unwrap_or_default();
        let offered: Vec<&str> = offered.split_ascii_whitespace().collect();
        wanted.retain(|controller| offered.contains(&controller.name()));

        let directory = own.join(name);
        let opened = make(&directory).and_then(|()| {
            if wanted.is_empty() {
                return Ok(());
            }
            hand_down(own, &wanted).or_else(|_| {
                move_aside(own, &leaf)?;
                hand_down(own, &wanted)
            })?;
            hand_down(&directory, &wanted)
        });
        match opened {
            Ok(()) => self.parents.push(Place { directory, is_v2: true, controllers: wanted }),
            Err(error) => {
                let _ = fs::remove_dir(&directory);
                let why = format!("`{}` is not delegated to us: {error}", own.display());
                self.missing.extend(wanted.iter().map(|controller| (*controller, why.clone())));
            }
        }
    }

    /// Whether containers can be held by this controller.
    #[must_use]
    pub fn has(&self, controller: Controller) -> bool {
        self.parents.iter().any(|place| place.controllers.contains(&controller))
    }

    /// What containers are held by, as `memory v1, pids v1`; for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut parts = Vec::new();
        for place in &self.parents {
            let version = if place.is_v2 { "v2" } else { "v1" };
            parts.extend(place.controllers.iter().map(|it| format!("{} {version}", it.name())));
            if place.is_v2 {
                parts.push("kill v2".to_owned());
            }
        }
        if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
    }

    /// What cannot be held by cgroups here, and why.
    #[must_use]
    pub fn missing(&self) -> &[(Controller, String)] {
        &self.missing
    }

    /// The directories that [`clean`] is to be given after this process was killed.
    #[must_use]
    pub fn directories(&self) -> Vec<PathBuf> {
        self.parents.iter().map(|place| place.directory.clone()).collect()
    }

    /// A new group for one container; `None` if there is nowhere to make one.
    ///
    /// # Errors
    ///
    /// If the kernel refuses; nothing is left behind then.
    pub fn create(&self, name: &str) -> io::Result<Option<Group>> {
        if self.parents.is_empty() {
            return Ok(None);
        }
        let below =
            |place: &Place| Place { directory: place.directory.join(name), ..place.clone() };
        Group::make(self.parents.iter().map(below).collect(), self.pids).map(Some)
    }

    /// Kills what is left in any group and removes them all; returns what was left.
    pub fn close(&self) -> Cleaned {
        clean(&self.directories())
    }
}

/// What [`clean`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Processes that were killed.
    pub processes: usize,
    /// Groups of containers that were removed.
    pub groups: usize,
}

/// Ends everything in these groups and below and removes them; those that are not there, or are no
/// cgroups, are left alone. Blocks until the processes are gone.
pub fn clean(directories: &[PathBuf]) -> Cleaned {
    let mut cleaned = Cleaned::default();
    // Of what is in several hierarchies only the first finds anyone.
    for directory in directories.iter().filter(|directory| directory.join(PROCESSES).exists()) {
        cleaned.groups = cleaned.groups.max(files::family(directory).len() - 1);
        cleaned.processes += files::processes(directory).len();
        let place = Place { directory: directory.clone(), is_v2: false, controllers: Vec::new() };
        let group = Group::make(vec![place], None);
        if let Err(error) = group.and_then(|group| group.end()) {
            tracing::warn!(path = %directory.display(), %error, "could not remove a cgroup");
        }
    }
    cleaned
}

fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Lets the groups below a group of version 2 have these controllers.
fn hand_down(directory: &Path, controllers: &[Controller]) -> io::Result<()> {
    let names: Vec<String> = controllers.iter().map(|it| format!("+{}", it.name())).collect();
    write(directory, "cgroup.subtree_control", &names.join(" "))
}

/// Moves the processes of a group that run this program to a leaf below. Others are not ours to
/// move, and if there are any the group was not given to us.
fn move_aside(own: &Path, leaf: &str) -> io::Result<()> {
    let leaf = own.join(leaf);
    make(&leaf)?;
    let program = fs::read_link("/proc/self/exe")?;
    for pid in read(own, PROCESSES)?.lines() {
        if fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|other| other == program) {
            write(&leaf, PROCESSES, pid)?;
        }
    }
    Ok(())
}
