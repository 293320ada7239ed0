//! The description of a container that a runtime reads: a pure function of the launch.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    LinuxBuilder, LinuxCapabilities, LinuxCapabilitiesBuilder, LinuxDeviceCgroup,
    LinuxDeviceCgroupBuilder, LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace,
    LinuxNamespaceBuilder, LinuxNamespaceType, LinuxResourcesBuilder, PosixRlimit,
    PosixRlimitBuilder, PosixRlimitType, Process, ProcessBuilder, RootBuilder, Spec, SpecBuilder,
    User, UserBuilder,
};

use super::mounts::{self, RootFiles};
use super::{Container, UserRange, devices, seccomp};
use crate::cgroup::Group;
use crate::launch::{Launch, RUNNER_FD_VARIABLE};

/// The version of the specification that is spoken; every runtime of use knows it.
const VERSION: &str = "1.0.2";

/// Files of the kernel that say more than a job has to know, or do more than it may.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Files of the kernel that may be read only.
const READ_ONLY: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What is at a path of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing.
    Missing,
    /// A directory.
    #[cfg_attr(
        all(not(target_os = "linux"), not(test)),
        expect(dead_code, reason = "containers are for Linux")
    )]
    Directory,
    /// Anything else.
    File,
}

/// Why there is no description.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SpecError {
    /// The program's arguments cannot be written down.
    #[error("`{}` is no text, and a container's description is", .0.display())]
    NoText(PathBuf),
    /// Something is missing, which would be a mistake of this program.
    #[error("the container cannot be described")]
    Incomplete(#[from] OciSpecError),
}

/// A container, as it is to be made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Description {
    /// What the runtime reads.
    pub(crate) spec: Spec,
    /// What has to be in the root before.
    pub(crate) root: RootFiles,
}

/// Describes the container of a launch. `channel` is the number of the descriptor that the program
/// speaks with the worker on, `open_files` the most descriptors that this process may have, and
/// `rootfs` where the container's root is.
///
/// # Errors
///
/// If a path or an argument is no text.
#[cfg_attr(
    all(not(target_os = "linux"), not(test)),
    expect(dead_code, reason = "containers are for Linux")
)]
pub(crate) fn describe(
    launch: &Launch,
    container: &Container,
    rootfs: &Path,
    channel: i32,
    open_files: u64,
    kind: &dyn Fn(&Path) -> Kind,
) -> Result<Description, SpecError> {
    let files = launch.isolation.as_ref().map_or(&[][..], |isolation| &isolation.files);
    let opaque = container.runtime.engine.is_opaque();
    let (of_rules, root) = mounts::of_rules(files, opaque, kind)?;
    let mut all = mounts::usual(container.users.is_some(), opaque)?;
    all.extend(of_rules);
    let given = devices::of(container, files)?;
    all.extend(given.mounts);
    let mut rules = vec![no_devices()?];
    rules.extend(given.rules);

    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces(container)?)
        .resources(LinuxResourcesBuilder::default().devices(rules).build()?)
        .cgroups_path(cgroup(launch, container))
        .masked_paths(texts(MASKED))
        .readonly_paths(texts(READ_ONLY));
    if !opaque {
        linux = linux.seccomp(seccomp::filter()?);
    }
    if let Some(users) = container.users {
        linux = linux.uid_mappings(vec![mapping(users)?]).gid_mappings(vec![mapping(users)?]);
    }
    if !given.devices.is_empty() {
        linux = linux.devices(given.devices);
    }
    let mut spec = SpecBuilder::default()
        .version(VERSION)
        .hostname(container.id.clone())
        .root(RootBuilder::default().path(rootfs).readonly(true).build()?)
        .process(process(launch, container, channel, open_files)?)
        .mounts(all)
        .linux(linux.build()?)
        .build()?;
    spec.set_hooks(given.hooks);
    Ok(Description { spec, root })
}

/// No device but those that the runtime itself gives to every container.
fn no_devices() -> Result<LinuxDeviceCgroup, OciSpecError> {
    LinuxDeviceCgroupBuilder::default().allow(false).access("rwm").build()
}

/// The container's own cgroup: below that of the launch. A relative path is one below the groups that
/// the runtime is started in.
fn cgroup(launch: &Launch, container: &Container) -> PathBuf {
    let parent = launch.group.as_ref().and_then(Group::v2_path).unwrap_or_default();
    parent.join(&container.id)
}

fn texts(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|&path| path.to_owned()).collect()
}

/// Namespaces of its own; the network is that in which the runtime is started.
fn namespaces(container: &Container) -> Result<Vec<LinuxNamespace>, OciSpecError> {
    let mut kinds = vec![
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
    ];
    if container.users.is_some() {
        kinds.push(LinuxNamespaceType::User);
    }
    kinds.into_iter().map(|kind| LinuxNamespaceBuilder::default().typ(kind).build()).collect()
}

fn mapping(users: UserRange) -> Result<LinuxIdMapping, OciSpecError> {
    LinuxIdMappingBuilder::default()
        .container_id(0_u32)
        .host_id(users.first)
        .size(users.count)
        .build()
}

fn process(
    launch: &Launch,
    container: &Container,
    channel: i32,
    open_files: u64,
) -> Result<Process, SpecError> {
    let program = launch.program.clone().into_os_string();
    let words = std::iter::once(program).chain(launch.args.iter().cloned());
    let words: Result<Vec<String>, SpecError> = words.map(text).collect();
    let channel = (RUNNER_FD_VARIABLE.to_owned(), channel.to_string());
    let edits = &container.edits;
    let variables = launch.env.iter().chain(&edits.env).chain([&channel]);
    let variables: Vec<String> = variables.map(|(name, value)| format!("{name}={value}")).collect();
    let process = ProcessBuilder::default()
        .terminal(false)
        .user(user(container)?)
        .args(words?)
        .env(variables)
        .cwd(launch.cwd.clone())
        .capabilities(no_rights()?)
        .rlimits(limits(launch, open_files)?)
        .no_new_privileges(true)
        .build()?;
    Ok(process)
}

fn user(container: &Container) -> Result<User, OciSpecError> {
    let mut user = UserBuilder::default().uid(0_u32).gid(0_u32);
    // Groups of the machine are none in a container with users of its own.
    if container.users.is_none() && !container.edits.groups.is_empty() {
        user = user.additional_gids(container.edits.groups.clone());
    }
    user.build()
}

fn text(word: OsString) -> Result<String, SpecError> {
    word.into_string().map_err(|word| SpecError::NoText(word.into()))
}

fn no_rights() -> Result<LinuxCapabilities, OciSpecError> {
    LinuxCapabilitiesBuilder::default()
        .bounding(HashSet::new())
        .permitted(HashSet::new())
        .effective(HashSet::new())
        .inheritable(HashSet::new())
        .ambient(HashSet::new())
        .build()
}

/// Limits can be lowered by anyone, and raised by few.
fn limits(launch: &Launch, open_files: u64) -> Result<Vec<PosixRlimit>, OciSpecError> {
    let limit =
        |kind, most: u64| PosixRlimitBuilder::default().typ(kind).soft(most).hard(most).build();
    let wanted = launch.limits.open_files.unwrap_or(open_files).min(open_files);
    let mut limits = vec![limit(PosixRlimitType::RlimitNofile, wanted)?];
    if !launch.limits.core_dumps {
        limits.push(limit(PosixRlimitType::RlimitCore, 0)?);
    }
    Ok(limits)
}

#[cfg(test)]
mod tests;
