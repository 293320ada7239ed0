//! What an image says it is made of.

use oci_client::config::ConfigFile;
use oci_client::manifest::{ImageIndexEntry, OciDescriptor, OciImageManifest, OciManifest};
use serde::{Deserialize, Serialize};

use crate::RootfsError;
use crate::digest::Digest;
use crate::images::Settings;

/// Bytes that a manifest or a configuration may have; registries refuse larger ones.
pub(crate) const DOCUMENT_BYTES: u64 = 4 * 1024 * 1024;

/// Layers that an image may have: as many as can be named in one page of mount options. What makes
/// images stops at 127.
const MOST_LAYERS: usize = 200;

/// How the programs of an image want to be started.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The environment, as names and values.
    pub env: Vec<(String, String)>,
    /// The working directory; nothing for the root directory.
    pub workdir: Option<String>,
    /// The account, as `user`, `uid`, `user:group` or `uid:gid`; nothing for root.
    pub user: Option<String>,
    /// The program with its first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments for it, or the program where there is no entry point.
    pub cmd: Vec<String>,
}

/// A layer as it comes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    /// Bytes.
    pub(crate) size: u64,
}

/// This machine's kind, in the words of images.
pub(crate) fn platform() -> (&'static str, &'static str) {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    ("linux", architecture)
}

/// A document of an image, read.
pub(crate) fn parse(text: &[u8], what: &str) -> Result<OciManifest, RootfsError> {
    let unreadable = |error| RootfsError::malformed(what, error);
    let value: serde_json::Value = serde_json::from_slice(text).map_err(unreadable)?;
    if value.get("schemaVersion").and_then(serde_json::Value::as_u64) != Some(2) {
        return Err(RootfsError::malformed(what, "its schema version is not 2"));
    }
    serde_json::from_value(value).map_err(unreadable)
}

/// The manifest in an index that is for a machine.
pub(crate) fn choose<'a>(
    entries: &'a [ImageIndexEntry],
    (os, architecture): (&str, &str),
) -> Result<&'a ImageIndexEntry, RootfsError> {
    let fits = |entry: &&ImageIndexEntry| match &entry.platform {
        Some(of) => of.os.to_string() == os && of.architecture.to_string() == architecture,
        None => false,
    };
    if let Some(entry) = entries.iter().find(fits) {
        return Ok(entry);
    }
    // Layouts name the platform of an only image seldom; its configuration does.
    if let [only] = entries
        && only.platform.is_none()
    {
        return Ok(only);
    }
    let name = |entry: &ImageIndexEntry| {
        let of = entry.platform.as_ref()?;
        Some(format!("{}/{}", of.os, of.architecture))
    };
    let found: Vec<String> = entries.iter().filter_map(name).collect();
    let found = if found.is_empty() { "none that is named".to_owned() } else { found.join(", ") };
    Err(RootfsError::Platform { wanted: format!("{os}/{architecture}"), found })
}

/// The layers of a manifest, the lowest first, checked against the limits.
pub(crate) fn blobs(
    manifest: &OciImageManifest,
    settings: &Settings,
) -> Result<Vec<Blob>, RootfsError> {
    let what = "the manifest";
    if manifest.layers.len() > MOST_LAYERS {
        let why = format!("it has more than {MOST_LAYERS} layers");
        return Err(RootfsError::malformed(what, why));
    }
    let mut total: u64 = 0;
    let mut blobs = Vec::new();
    for layer in &manifest.layers {
        let blob = blob(layer)?;
        if blob.size > settings.max_layer_bytes {
            let what = format!("layer {}", blob.digest);
            return Err(RootfsError::TooLarge { what, limit: settings.max_layer_bytes });
        }
        total = total.saturating_add(blob.size);
        blobs.push(blob);
    }
    if total > settings.max_image_bytes {
        let limit = settings.max_image_bytes;
        return Err(RootfsError::TooLarge { what: "the image".to_owned(), limit });
    }
    Ok(blobs)
}

/// What a descriptor names.
pub(crate) fn blob(descriptor: &OciDescriptor) -> Result<Blob, RootfsError> {
    let size = u64::try_from(descriptor.size)
        .map_err(|_| RootfsError::malformed("the manifest", "a size in it is negative"))?;
    Ok(Blob { digest: Digest::parse(&descriptor.digest)?, size })
}

/// Reads a configuration: the digests of the layers when unpacked, the lowest first, and the rest.
pub(crate) fn config(
    text: &[u8],
    layers: usize,
    (os, architecture): (&str, &str),
) -> Result<(Vec<Digest>, ImageConfig), RootfsError> {
    let what = "the image's configuration";
    let file: ConfigFile =
        serde_json::from_slice(text).map_err(|error| RootfsError::malformed(what, error))?;
    let found = format!("{}/{}", file.os, file.architecture);
    let wanted = format!("{os}/{architecture}");
    if found != wanted {
        return Err(RootfsError::Platform { wanted, found });
    }
    let diff_ids = file.rootfs.diff_ids.iter().map(|id| Digest::parse(id));
    let diff_ids = diff_ids.collect::<Result<Vec<_>, _>>()?;
    if diff_ids.len() != layers {
        let why = format!("it has {} layers, and the manifest {layers}", diff_ids.len());
        return Err(RootfsError::malformed(what, why));
    }
    let config = file.config.unwrap_or_default();
    let pair = |text: String| match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (text, String::new()),
    };
    let config = ImageConfig {
        env: config.env.unwrap_or_default().into_iter().map(pair).collect(),
        workdir: config.working_dir.filter(|it| !it.is_empty()),
        user: config.user.filter(|it| !it.is_empty()),
        entrypoint: config.entrypoint.unwrap_or_default(),
        cmd: config.cmd.unwrap_or_default(),
    };
    Ok((diff_ids, config))
}

#[cfg(test)]
mod tests;
