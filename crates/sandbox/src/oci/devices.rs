//! Devices that a container was given, as its description has them.

use oci_spec::OciSpecError;
use oci_spec::runtime::{Hooks, LinuxDevice, LinuxDeviceCgroup, Mount, MountBuilder};

use super::Container;
use crate::isolation::{Access, FileRule};

/// The parts of a description that devices add to.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) devices: Vec<LinuxDevice>,
    pub(super) rules: Vec<LinuxDeviceCgroup>,
    pub(super) mounts: Vec<Mount>,
    pub(super) hooks: Option<Hooks>,
}

/// What a container gets for its devices, that sees these files of the machine.
pub(super) fn of(container: &Container, files: &[FileRule]) -> Result<Given, OciSpecError> {
    let edits = &container.edits;
    let mut given = Given::default();
    for node in &edits.nodes {
        given.rules.push(node.rule.clone());
        // Where a container has users of its own runc binds the machine's node, and the one at the same
        // path at that.
        if container.users.is_some() && node.source != *node.device.path() {
            given.mounts.push(bound(node.source.clone(), node.device.path().clone())?);
        } else {
            given.devices.push(node.device.clone());
        }
    }
    let is_image = !container.layers.is_empty();
    given
        .mounts
        .extend(edits.mounts.iter().filter(|mount| is_image || !shows(files, mount)).cloned());
    // They put links and a cache of libraries into a root filesystem that was made elsewhere. The
    // machine's own has them, and a container may not change it.
    if is_image {
        given.hooks = edits.hooks();
    }
    Ok(given)
}

fn bound(
    source: std::path::PathBuf,
    destination: std::path::PathBuf,
) -> Result<Mount, OciSpecError> {
    let options = ["bind", "nosuid", "noexec"].map(str::to_owned).to_vec();
    MountBuilder::default()
        .destination(destination)
        .source(source)
        .typ("bind")
        .options(options)
        .build()
}

/// Whether the container sees the same file at the same place anyway.
fn shows(files: &[FileRule], mount: &Mount) -> bool {
    let path = mount.destination();
    if mount.source().as_ref() != Some(path) {
        return false;
    }
    // The innermost rule is the one that counts.
    let around = files.iter().filter(|rule| path.starts_with(&rule.path));
    let rule = around.max_by_key(|rule| rule.path.components().count());
    rule.is_some_and(|rule| {
        let is_shown = matches!(rule.access, Access::Read | Access::Execute | Access::Write);
        is_shown && rule.source == rule.path
    })
}
