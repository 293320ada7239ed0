//! From what files say to what a container's description gets.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Hook, HookBuilder, Hooks, LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup,
    LinuxDeviceCgroupBuilder, LinuxDeviceType, Mount, MountBuilder,
};
use serde::{Deserialize, Serialize};

use super::node::Node;
use super::registry::CdiError;
use super::spec::{self, ContainerEdits, Device, DeviceNode, Spec};

/// A device node that a container gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Given {
    /// Where it is on the machine.
    pub(crate) source: PathBuf,
    /// What it is, and where it is in the container.
    pub(crate) device: LinuxDevice,
    /// That it may be used.
    pub(crate) rule: LinuxDeviceCgroup,
}

/// What a container gets for the devices that it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edits {
    /// Variables of the first process.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) nodes: Vec<Given>,
    pub(crate) mounts: Vec<Mount>,
    /// Programs that prepare the container, in order: when, and what.
    pub(crate) hooks: Vec<(String, Hook)>,
    /// Further groups of the first process.
    pub(crate) groups: Vec<u32>,
    /// Whether a GPU of NVIDIA's is among the devices.
    pub(crate) nvidia: bool,
}

/// When hooks run.
const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

impl Edits {
    /// Whether there is nothing to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The hooks, as a description has them.
    pub(crate) fn hooks(&self) -> Option<Hooks> {
        if self.hooks.is_empty() {
            return None;
        }
        let of = |when: &str| {
            let own = self.hooks.iter().filter(|(name, _)| name == when);
            let own: Vec<Hook> = own.map(|(_, hook)| hook.clone()).collect();
            (!own.is_empty()).then_some(own)
        };
        let mut hooks = Hooks::default();
        hooks.set_prestart(of(HOOKS[0]));
        hooks
            .set_create_runtime(of(HOOKS[1]))
            .set_create_container(of(HOOKS[2]))
            .set_start_container(of(HOOKS[3]))
            .set_poststart(of(HOOKS[4]))
            .set_poststop(of(HOOKS[5]));
        Some(hooks)
    }
}

/// Puts edits together, device by device.
pub(super) struct Maker<'a> {
    node: &'a dyn Fn(&Path) -> Option<Node>,
    made: Edits,
    /// Files whose common part is there already.
    files: BTreeSet<usize>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(node: &'a dyn Fn(&Path) -> Option<Node>) -> Self {
        Self { node, made: Edits::default(), files: BTreeSet::new() }
    }

    pub(super) fn made(self) -> Edits {
        self.made
    }

    /// Adds a device of a file, and what all devices of that file need.
    pub(super) fn add(
        &mut self,
        name: &str,
        file: usize,
        spec: &Spec,
        device: &Device,
    ) -> Result<(), CdiError> {
        self.made.nvidia |= spec.kind == NVIDIA;
        if self.files.insert(file) {
            self.edit(name, &spec.container_edits)?;
        }
        self.edit(name, &device.container_edits)
    }

    fn edit(&mut self, name: &str, edits: &ContainerEdits) -> Result<(), CdiError> {
        let nonsense = |what: String| CdiError::Nonsense { name: name.to_owned(), what };
        if edits.intel_rdt.is_some() || edits.net_devices.is_some() {
            return Err(nonsense("it asks for `intelRdt` or `netDevices`".to_owned()));
        }
        for line in &edits.env {
            let Some((variable, value)) = line.split_once('=').filter(|(it, _)| !it.is_empty())
            else {
                return Err(nonsense(format!("`{line}` is no variable")));
            };
            self.made.env.retain(|(other, _)| other != variable);
            self.made.env.push((variable.to_owned(), value.to_owned()));
        }
        for wanted in &edits.device_nodes {
            let given = self.give(name, wanted)?;
            self.made.nodes.retain(|other| other.device.path() != given.device.path());
            self.made.nodes.push(given);
        }
        for wanted in &edits.mounts {
            let mount = mount(wanted).map_err(|error| nonsense(error.to_string()))?;
            self.made.mounts.retain(|other| other.destination() != mount.destination());
            self.made.mounts.push(mount);
        }
        for wanted in &edits.hooks {
            if !HOOKS.contains(&wanted.hook_name.as_str()) {
                return Err(nonsense(format!("there are no hooks `{}`", wanted.hook_name)));
            }
            let hook = hook(wanted).map_err(|error| nonsense(error.to_string()))?;
            self.made.hooks.push((wanted.hook_name.clone(), hook));
        }
        for group in &edits.additional_gids {
            if *group > 0 && !self.made.groups.contains(group) {
                self.made.groups.push(*group);
            }
        }
        Ok(())
    }

    fn give(&self, name: &str, wanted: &DeviceNode) -> Result<Given, CdiError> {
        let source = wanted.host_path.as_ref().unwrap_or(&wanted.path);
        let missing = || CdiError::NoNode { name: name.to_owned(), path: source.clone() };
        let found = (self.node)(source).ok_or_else(missing)?;
        let kind = match wanted.kind.as_deref().unwrap_or_default() {
            "" => match found.kind {
                'b' => LinuxDeviceType::B,
                'p' => LinuxDeviceType::P,
                _ => LinuxDeviceType::C,
            },
            "b" => LinuxDeviceType::B,
            "c" | "u" => LinuxDeviceType::C,
            "p" => LinuxDeviceType::P,
            other => {
                let what = format!("`{other}` is no type of a device");
                return Err(CdiError::Nonsense { name: name.to_owned(), what });
            }
        };
        let major = wanted.major.unwrap_or(found.major);
        let minor = wanted.minor.unwrap_or(found.minor);
        let build = || {
            let mut device = LinuxDeviceBuilder::default()
                .path(&wanted.path)
                .typ(kind)
                .major(major)
                .minor(minor)
                .file_mode(wanted.file_mode.unwrap_or(found.mode));
            if let Some(uid) = wanted.uid {
                device = device.uid(uid);
            }
            if let Some(gid) = wanted.gid {
                device = device.gid(gid);
            }
            let rule = LinuxDeviceCgroupBuilder::default()
                .allow(true)
                .typ(kind)
                .major(major)
                .minor(minor)
                .access(wanted.permissions.as_deref().filter(|it| !it.is_empty()).unwrap_or("rwm"));
            Ok(Given { source: source.clone(), device: device.build()?, rule: rule.build()? })
        };
        build().map_err(|error: OciSpecError| CdiError::Nonsense {
            name: name.to_owned(),
            what: error.to_string(),
        })
    }
}

/// The kind of NVIDIA's GPUs.
pub(crate) const NVIDIA: &str = "nvidia.com/gpu";

fn mount(wanted: &spec::Mount) -> Result<Mount, OciSpecError> {
    let mut options = wanted.options.clone();
    let kind = wanted.kind.as_deref().filter(|kind| !kind.is_empty()).unwrap_or("bind");
    if kind == "bind" && !options.iter().any(|option| option == "bind" || option == "rbind") {
        options.push("bind".to_owned());
    }
    MountBuilder::default()
        .destination(&wanted.container_path)
        .source(&wanted.host_path)
        .typ(kind)
        .options(options)
        .build()
}

fn hook(wanted: &spec::Hook) -> Result<Hook, OciSpecError> {
    let mut hook = HookBuilder::default().path(&wanted.path).args(wanted.args.clone());
    if !wanted.env.is_empty() {
        hook = hook.env(wanted.env.clone());
    }
    if let Some(timeout) = wanted.timeout {
        hook = hook.timeout(timeout);
    }
    hook.build()
}
