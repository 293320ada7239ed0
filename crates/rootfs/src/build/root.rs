//! The root that buildah has, instead of the machine's.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::Builder;

/// Makes the root, and runs a program in it.
const SCRIPT: &str = include_str!("root.sh");

/// Directories whose programs the root has anyway.
const SYSTEM: [&str; 5] = ["/usr", "/bin", "/sbin", "/lib", "/nix"];

/// Places in the root.
pub(super) const CONFIGURATION: &str = "/metal9/configuration";
pub(super) const CONTEXT: &str = "/metal9/context";
pub(super) const FILES: &str = "/metal9/files";
pub(super) const GUARD: &str = "/metal9/guard";
pub(super) const OUT: &str = "/metal9/out";
pub(super) const STORAGE: &str = "/metal9/storage";
pub(super) const WORK: &str = "/metal9/work";

/// The cgroup of steps, below the one of the build, which is at the top in the root.
pub(super) const STEPS: &str = "/steps";

/// How something of the machine is in the root.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    Read,
    Write,
    /// What is written to it is not the machine's.
    Copy,
}

/// What of the machine is in the root: how, what, and where.
#[derive(Debug, Default)]
pub(super) struct View(Vec<(How, PathBuf, PathBuf)>);

impl View {
    pub(super) fn add(&mut self, how: How, what: &Path, place: impl AsRef<Path>) {
        self.0.push((how, what.to_owned(), place.as_ref().to_owned()));
    }

    /// Under its own name.
    pub(super) fn add_same(&mut self, what: &Path) {
        self.add(How::Read, what, what);
    }

    /// The programs that are not where programs usually are.
    pub(super) fn add_programs(&mut self, builder: &Builder) {
        self.add(How::Read, &builder.guard, GUARD);
        for program in [&builder.buildah, &builder.runtime] {
            if !SYSTEM.iter().any(|directory| program.starts_with(directory)) {
                self.add_same(program);
            }
        }
    }
}

/// A program with a root of its own, made at an empty directory, and in process and mount namespaces of
/// its own: when it is killed, as it is when this process dies, all that it started is gone with it, and
/// all that it mounted.
pub(super) fn command(
    builder: &Builder,
    root: &Path,
    cgroup: &str,
    view: &View,
    program: &Path,
) -> Command {
    let mut command = Command::new(&builder.setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(&builder.unshare).args([
        "--pid",
        "--fork",
        "--kill-child",
        "--mount",
        "--",
    ]);
    command.args(["/bin/sh", "-c", SCRIPT, "root"]).arg(root);
    command.arg(cgroup.trim_start_matches('/'));
    for (how, what, place) in &view.0 {
        command.arg(match how {
            How::Read => "ro",
            How::Write => "rw",
            How::Copy => "copy",
        });
        command.arg(what).arg(place);
    }
    command.arg("--").arg(program);
    command
}
