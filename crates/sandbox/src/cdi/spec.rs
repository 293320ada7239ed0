//! The format of the files.

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// Versions that are understood: the first that is used in the field up to the present one.
const VERSIONS: std::ops::RangeInclusive<(u32, u32)> = (0, 3)..=(1, 1);

/// One file: the devices of one kind.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    cdi_version: String,
    /// `vendor/class`, as `nvidia.com/gpu`.
    pub(super) kind: String,
    #[serde(default)]
    pub(super) devices: Vec<Device>,
    /// What is needed for each of them.
    #[serde(default)]
    pub(super) container_edits: ContainerEdits,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Device {
    pub(super) name: String,
    #[serde(default)]
    pub(super) container_edits: ContainerEdits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ContainerEdits {
    pub(super) env: Vec<String>,
    pub(super) device_nodes: Vec<DeviceNode>,
    pub(super) mounts: Vec<Mount>,
    pub(super) hooks: Vec<Hook>,
    pub(super) additional_gids: Vec<u32>,
    /// Classes of cache and memory bandwidth, which nothing here can give.
    pub(super) intel_rdt: Option<IgnoredAny>,
    /// Network interfaces, likewise.
    pub(super) net_devices: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeviceNode {
    pub(super) path: PathBuf,
    /// Where it is on the machine, if not at the same path.
    pub(super) host_path: Option<PathBuf>,
    /// `c`, `b` or `p`; like the numbers, as on the machine if it is not said.
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) major: Option<i64>,
    pub(super) minor: Option<i64>,
    pub(super) file_mode: Option<u32>,
    /// Of `r`, `w` and `m`; all of them if it is not said.
    pub(super) permissions: Option<String>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mount {
    pub(super) host_path: PathBuf,
    pub(super) container_path: PathBuf,
    #[serde(default)]
    pub(super) options: Vec<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hook {
    pub(super) hook_name: String,
    pub(super) path: PathBuf,
    #[serde(default)]
    pub(super) args: Vec<String>,
    #[serde(default)]
    pub(super) env: Vec<String>,
    pub(super) timeout: Option<i64>,
}

impl Spec {
    /// Reads a file's text, which is JSON or YAML.
    pub(super) fn read(text: &str, is_json: bool) -> Result<Self, String> {
        let spec: Self = if is_json {
            serde_json::from_str(text).map_err(|error| error.to_string())?
        } else {
            serde_saphyr::from_str(text).map_err(|error| error.to_string())?
        };
        let mut parts = spec.cdi_version.trim_start_matches('v').split('.');
        let mut number = || parts.next()?.parse::<u32>().ok();
        match (number(), number()) {
            (Some(major), Some(minor)) if VERSIONS.contains(&(major, minor)) => Ok(spec),
            _ => Err(format!("version `{}` of the format is not understood", spec.cdi_version)),
        }
    }
}
