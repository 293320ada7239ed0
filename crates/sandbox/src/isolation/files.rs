//! Which files a job may use.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What may be done with a path and everything below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Read.
    Read,
    /// Read and execute.
    Execute,
    /// Read and write a device.
    Device,
    /// Everything a user may do in a directory of their own.
    Write,
    /// The path is a symbolic link to this one.
    Link(PathBuf),
    /// Nothing, although the directory above may be used.
    Hidden,
}

/// One path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRule {
    /// Where the job finds it.
    pub path: PathBuf,
    /// Where it is: the path without symbolic links, or another place.
    pub source: PathBuf,
    /// What may be done with it.
    pub access: Access,
}

impl FileRule {
    /// A rule for a path that is what it says.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, access: Access) -> Self {
        let path = path.into();
        Self { source: path.clone(), path, access }
    }
}

/// The directory of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumePaths {
    /// Where it is.
    pub directory: PathBuf,
    /// Where else the job finds it.
    pub elsewhere: Option<PathBuf>,
    /// `true` if the job may not write there.
    pub read_only: bool,
}

impl VolumePaths {
    /// What a job may do there.
    pub(crate) fn access(&self) -> Access {
        if self.read_only { Access::Read } else { Access::Write }
    }
}

/// The paths of one job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobPaths {
    /// What it reads and executes: its environment, the runner's files.
    pub programs: Vec<PathBuf>,
    /// The Python of its environment, a symbolic link to the base interpreter.
    pub python: PathBuf,
    /// `true` if its root filesystem has all programs: of the machine's files it sees only what says
    /// who is where.
    pub rooted: bool,
    /// Its own directory.
    pub own: PathBuf,
    /// What it finds as `/tmp`; below its own directory.
    pub temporary: PathBuf,
    /// Directories that the worker's settings let jobs read.
    pub readable: Vec<PathBuf>,
    /// Directories that the worker's settings let jobs write.
    pub writable: Vec<PathBuf>,
    /// Directories of volumes.
    pub volumes: Vec<VolumePaths>,
    /// What no job may see, whatever directory it is in: the worker's state.
    pub hidden: Vec<PathBuf>,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Missing,
    /// A symbolic link.
    Link {
        /// What it says.
        target: PathBuf,
        /// What it leads to in the end; nothing if it leads nowhere.
        real: Option<PathBuf>,
    },
    /// A file or directory, by its path without symbolic links.
    There(PathBuf),
}

/// The file system, as far as the rules depend on it.
pub trait Machine {
    /// What is at an absolute path.
    fn entry(&self, path: &Path) -> Entry;
}

/// This machine.
#[derive(Clone, Copy, Debug)]
pub struct RealMachine;

impl Machine for RealMachine {
    fn entry(&self, path: &Path) -> Entry {
        match fs::read_link(path) {
            Ok(target) => Entry::Link { target, real: fs::canonicalize(path).ok() },
            Err(_) => fs::canonicalize(path).map_or(Entry::Missing, Entry::There),
        }
    }
}

/// Programs and libraries of the system.
const PROGRAMS: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store"];

/// Configuration and data of programs that the system did not bring, among [`PROGRAMS`].
const PRIVATE: &[&str] = &["/usr/local/etc", "/usr/local/var"];

/// What programs read of `/etc`: names, certificates, time zone, how to link. Nothing that is a
/// secret or says who may do what.
const CONFIGURATION: &[&str] = &[
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/networks",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust/extracted",
    "/etc/crypto-policies",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/locale.alias",
    "/etc/default/locale",
    "/etc/locale.conf",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/os-release",
    "/etc/debian_version",
    "/etc/lsb-release",
    "/etc/redhat-release",
    "/etc/mime.types",
    "/etc/magic",
    "/etc/terminfo",
    "/etc/inputrc",
    "/etc/profile",
    "/etc/bash.bashrc",
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/ImageMagick-6",
    "/etc/OpenCL",
    "/etc/vulkan",
    "/etc/python3",
    "/etc/python3.8",
    "/etc/python3.9",
    "/etc/python3.10",
    "/etc/python3.11",
    "/etc/python3.12",
    "/etc/python3.13",
    "/etc/python3.14",
];

/// What says who is where in the network.
const NAMES: &[&str] = &["/etc/hosts", "/etc/resolv.conf"];

/// What the kernel tells.
const KERNEL: &[&str] = &["/proc", "/sys"];

/// Devices without hardware behind them.
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Links that programs expect.
const LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/var/tmp", "/tmp"),
];

/// How long a chain of symbolic links may be.
const MAX_LINKS: usize = 16;

/// The directory of programs that a path is in: every job on Linux reads what is there, unless it is
/// hidden from it.
#[must_use]
pub fn among_programs(machine: &impl Machine, path: &Path) -> Option<&'static str> {
    // What is not there yet will be where its parent is.
    let real = path.ancestors().find_map(|there| match machine.entry(there) {
        Entry::There(real) | Entry::Link { real: Some(real), .. } => Some(real),
        _ => None,
    })?;
    PROGRAMS.iter().copied().find(|programs| match machine.entry(Path::new(programs)) {
        Entry::There(programs) => real.starts_with(programs),
        _ => false,
    })
}

/// Everything that a job may use: parents before what is below them, each path once. What is not on
/// this machine is left out.
#[must_use]
pub fn file_rules(machine: &impl Machine, job: &JobPaths) -> Vec<FileRule> {
    let mut rules = Vec::new();
    let (programs, configuration) =
        if job.rooted { (&[][..], NAMES) } else { (PROGRAMS, CONFIGURATION) };
    for (paths, access) in
        [(programs, Access::Execute), (configuration, Access::Read), (KERNEL, Access::Read)]
    {
        rules.extend(paths.iter().filter_map(|path| system(machine, Path::new(path), &access)));
    }
    if !job.rooted {
        let private = PRIVATE.iter().map(Path::new);
        rules.extend(private.filter_map(|path| at(machine, path, Access::Hidden)));
    }
    rules.extend(DEVICES.iter().filter_map(|path| at(machine, Path::new(path), Access::Device)));
    for (path, target) in LINKS {
        rules.push(FileRule::new(*path, Access::Link(PathBuf::from(target))));
    }
    let temporary = job.temporary.clone();
    rules.push(FileRule { path: "/tmp".into(), source: temporary, access: Access::Write });
    for (paths, access) in [
        (&job.readable, Access::Read),
        (&job.writable, Access::Write),
        (&job.hidden, Access::Hidden),
        (&job.programs, Access::Execute),
    ] {
        rules.extend(paths.iter().filter_map(|path| at(machine, path, access.clone())));
    }
    if !job.rooted {
        rules.extend(interpreter(machine, &job.python));
    }
    for volume in &job.volumes {
        let rule = at(machine, &volume.directory, volume.access());
        let other = rule.clone().zip(volume.elsewhere.clone());
        rules.extend(other.map(|(rule, path)| FileRule { path, ..rule }));
        rules.extend(rule);
    }
    rules.extend(at(machine, &job.own, Access::Write));
    let volumes: Vec<&Path> = job.volumes.iter().map(|it| it.directory.as_path()).collect();
    tidy(rules, &volumes)
}

/// A path of the system. A link in the root directory, as `/lib` often is, stays a link; one in
/// `/etc` becomes what it leads to, wherever that is.
fn system(machine: &impl Machine, path: &Path, access: &Access) -> Option<FileRule> {
    match machine.entry(path) {
        Entry::Link { target, .. } if path.parent() == Some(Path::new("/")) => {
            Some(FileRule::new(path, Access::Link(target)))
        }
        _ => at(machine, path, access.clone()),
    }
}

/// A path, where it is on this machine; nothing if there is nothing.
pub(crate) fn at(machine: &impl Machine, path: &Path, access: Access) -> Option<FileRule> {
    let source = match machine.entry(path) {
        Entry::There(real) => real,
        Entry::Link { real, .. } => real?,
        Entry::Missing => return None,
    };
    Some(FileRule { path: path.to_owned(), source, access })
}

/// The base interpreter of an environment: every link on the way to it, and the directory that it
/// is installed in.
pub(crate) fn interpreter(machine: &impl Machine, python: &Path) -> Vec<FileRule> {
    let mut rules = Vec::new();
    let mut path = python.to_owned();
    for _ in 0..MAX_LINKS {
        let Entry::Link { target, .. } = machine.entry(&path) else { break };
        let next = normal(&path.parent().unwrap_or_else(|| Path::new("/")).join(target));
        // The place as the link says it: Python finds its library from there.
        if let Some(prefix) = prefix(&next) {
            if has_library(machine, &next, &prefix) {
                rules.extend(at(machine, &prefix, Access::Execute));
            } else {
                rules.extend(at(machine, &next, Access::Execute));
            }
        }
        path = next;
    }
    if let Entry::There(real) = machine.entry(&path) {
        let there = prefix(&real).filter(|prefix| has_library(machine, &real, prefix));
        rules.extend(at(machine, &there.unwrap_or(real), Access::Execute));
    }
    rules
}

/// `/a/b` of `/a/b/bin/python3`.
fn prefix(python: &Path) -> Option<PathBuf> {
    let bin = python.parent()?;
    let prefix = bin.parent()?;
    (bin.file_name()? == "bin" && prefix.parent().is_some()).then(|| prefix.to_owned())
}

/// Whether the standard library of a Python is below a directory.
fn has_library(machine: &impl Machine, python: &Path, prefix: &Path) -> bool {
    let real = match machine.entry(python) {
        Entry::There(real) | Entry::Link { real: Some(real), .. } => real,
        _ => return false,
    };
    let Some(name) = real.file_name() else { return false };
    machine.entry(&prefix.join("lib").join(name).join("os.py")) != Entry::Missing
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

/// In order, without rules that say what another says already; of several for one path the last
/// counts. Paths `apart` may be on a disk of their own, and what may be done above says nothing of it.
fn tidy(rules: Vec<FileRule>, apart: &[&Path]) -> Vec<FileRule> {
    let mut tidied: Vec<FileRule> = Vec::new();
    for rule in rules {
        match tidied.iter_mut().find(|known| known.path == rule.path) {
            Some(known) => *known = rule,
            None => tidied.push(rule),
        }
    }
    tidied.sort_by(|a, b| a.path.cmp(&b.path));
    let all = tidied.clone();
    tidied.retain(|rule| apart.contains(&rule.path.as_path()) || !is_implied(rule, &all));
    tidied
}

fn is_implied(rule: &FileRule, all: &[FileRule]) -> bool {
    let above =
        all.iter().rfind(|other| rule.path.starts_with(&other.path) && rule.path != other.path);
    match (above, &rule.access) {
        // Nothing is there to be hidden.
        (None, Access::Hidden) => true,
        (Some(above), Access::Link(_)) => matches!(above.access, Access::Link(_)),
        (Some(above), access) => {
            let rest = rule.path.strip_prefix(&above.path).unwrap_or_else(|_| Path::new(""));
            above.access == *access && above.source.join(rest) == rule.source
        }
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests;
