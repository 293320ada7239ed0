//! What a job sees of the machine, as mounts and as files of an otherwise empty root.

use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::runtime::{Mount, MountBuilder};

use super::spec::Kind;
use crate::isolation::{Access, FileRule};

/// What the root directory is made of before the runtime mounts the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RootFiles {
    /// Empty directories.
    pub(crate) directories: Vec<PathBuf>,
    /// Symbolic links: where they are, and what they say.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    /// Copies of small files of the machine: where they are found, and where they are.
    pub(crate) copies: Vec<(PathBuf, PathBuf)>,
}

/// Directories that programs expect.
const EMPTY: &[&str] = &["/run", "/var", "/home", "/root", "/mnt", "/etc"];

/// What the runtime makes by itself in a container.
const OWN: &[&str] = &["/proc", "/sys", "/dev"];

/// The mounts of every container, before those of the rules.
pub(super) fn usual(user_namespace: bool, opaque: bool) -> Result<Vec<Mount>, OciSpecError> {
    let hidden = ["nosuid", "noexec", "nodev"];
    let mut dev = vec!["nosuid", "strictatime", "mode=755", "size=64k"];
    // gVisor would not let its own devices be written then.
    if !opaque {
        dev.push("ro");
    }
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &hidden)?,
        mount("/dev", "tmpfs", "tmpfs", &dev)?,
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        )?,
        mount("/dev/shm", "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=1777"])?,
    ];
    // Who is root in a namespace of users only may not mount the kernel's own, which shows a network
    // that is somebody else's.
    mounts.push(if user_namespace {
        mount(
            "/sys",
            "none",
            "/sys",
            &below(&["rbind", "nosuid", "noexec", "nodev", "ro"], opaque),
        )?
    } else {
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])?
    });
    Ok(mounts)
}

/// The mounts of the rules, and what the root, in which there is nothing yet, needs for those that are
/// none.
pub(super) fn of_rules(
    rules: &[FileRule],
    opaque: bool,
    kind: &dyn Fn(&Path) -> Kind,
) -> Result<(Vec<Mount>, RootFiles), OciSpecError> {
    let directories = EMPTY.iter().map(PathBuf::from).collect();
    let mut root = RootFiles { directories, ..RootFiles::default() };
    let mut mounts = Vec::new();
    for rule in rules.iter().filter(|rule| !OWN.iter().any(|own| rule.path.starts_with(own))) {
        let FileRule { path, source, access } = rule;
        let found = kind(source);
        match access {
            Access::Device => {}
            Access::Link(target) => root.links.push((path.clone(), target.clone())),
            Access::Hidden => {
                mounts.push(mount(path, "tmpfs", "tmpfs", &["nosuid", "nodev", "ro", "size=1m"])?);
            }
            _ if found == Kind::Missing => {}
            // One mount less to make, which matters where there are twenty of them.
            Access::Read if found == Kind::File && path.starts_with("/etc") => {
                root.copies.push((path.clone(), source.clone()));
            }
            Access::Read | Access::Execute => {
                let options = below(&["rbind", "ro", "nosuid", "nodev"], opaque);
                mounts.push(mount(path, "none", source, &options)?);
            }
            Access::Write => {
                // What is mounted below is written or not as the machine has it.
                let options = below(&["rbind", "rw", "nosuid", "nodev"], opaque);
                mounts.push(mount(path, "none", source, &options)?);
            }
        }
    }
    Ok((mounts, root))
}

/// Options of a mount, for all that is mounted below it, too. What gVisor shows of the machine is one file
/// system to it, which has them as a whole; it does not know the others.
fn below(options: &[&'static str], opaque: bool) -> Vec<&'static str> {
    let recursive = options.iter().filter_map(|option| match *option {
        "ro" => Some("rro"),
        "nosuid" => Some("rnosuid"),
        "nodev" => Some("rnodev"),
        "noexec" => Some("rnoexec"),
        _ => None,
    });
    options.iter().copied().chain(recursive.filter(|_| !opaque)).collect()
}

fn mount(
    destination: impl Into<PathBuf>,
    kind: &str,
    source: impl Into<PathBuf>,
    options: &[&str],
) -> Result<Mount, OciSpecError> {
    let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
    MountBuilder::default()
        .destination(destination)
        // The type of a bind mount is `none` for runc and `bind` for gVisor, which both take the
        // latter.
        .typ(if kind == "none" { "bind" } else { kind })
        .source(source)
        .options(options)
        .build()
}
