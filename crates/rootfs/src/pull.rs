//! From a registry into the cache.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use futures::{StreamExt, TryStreamExt};
use oci_client::Reference;
use oci_client::manifest::OciManifest;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};
use crate::fetch::Registry;
use crate::images::{Record, State, ensure};
use crate::layout;
use crate::manifest::{self, Blob};
use crate::room::{Abandon, Room};
use crate::{Credentials, Image, Progress, RootfsError};

/// Layers that are fetched or unpacked at the same time.
const AT_ONCE: usize = 3;

/// Who is told how it goes.
pub(crate) type Tell<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// What a name stood for when it was last asked for.
#[derive(Debug, Serialize, Deserialize)]
struct Resolved {
    reference: String,
    digest: String,
}

pub(crate) async fn pull(
    state: &Arc<State>,
    reference: &str,
    credentials: Option<&Credentials>,
    tell: Tell<'_>,
) -> Result<Image, RootfsError> {
    let parsed = parse(reference)?;
    let pinned = parsed.digest().is_some();
    let name = note(state, &parsed, credentials);
    let known = || {
        let resolved: Resolved = layout::read(&name)?;
        state.cached(&Digest::parse(&resolved.digest).ok()?)
    };
    if pinned && let Some(image) = known() {
        layout::touch(&name);
        return Ok(image);
    }
    let registry = Registry::new(parsed, credentials, &state.settings)?;
    let image = match registry.manifest(None).await {
        Ok((text, digest)) => with_manifest(state, &registry, text, digest, tell).await?,
        Err(error @ RootfsError::Registry { .. }) => {
            let Some(image) = known() else { return Err(error) };
            tell(Progress::Warning(format!(
                "the registry of `{reference}` could not be reached; {} is used, which it stood for \
                 before",
                image.digest
            )));
            return Ok(image);
        }
        Err(error) => return Err(error),
    };
    let resolved = Resolved { reference: reference.to_owned(), digest: image.digest.clone() };
    state.layout.write(&name, &resolved)?;
    Ok(image)
}

pub(crate) async fn resolve(
    state: &Arc<State>,
    reference: &str,
    credentials: Option<&Credentials>,
) -> Result<String, RootfsError> {
    let parsed = parse(reference)?;
    if let Some(digest) = parsed.digest() {
        return Ok(digest.to_owned());
    }
    let registry = Registry::new(parsed, credentials, &state.settings)?;
    Ok(registry.manifest(None).await?.1.to_string())
}

/// Reads the name of an image.
pub(crate) fn parse(reference: &str) -> Result<Reference, RootfsError> {
    let wrong = |why: String| RootfsError::Reference { reference: reference.to_owned(), why };
    let parsed: Reference = reference.parse().map_err(|error| wrong(format!("{error}")))?;
    if let Some(digest) = parsed.digest() {
        Digest::parse(digest).map_err(|error| wrong(error.to_string()))?;
    }
    Ok(parsed)
}

/// Where it is noted what a name stands for, for somebody with these credentials.
fn note(state: &State, reference: &Reference, credentials: Option<&Credentials>) -> PathBuf {
    let mut hasher = Hasher::default();
    hasher.update(reference.to_string().as_bytes());
    if let Some(Credentials { user, password }) = credentials {
        for part in [user, password] {
            hasher.update(&[0]);
            hasher.update(part.as_bytes());
        }
    }
    state.layout.names.join(format!("{}.json", hasher.finish().hex()))
}

async fn with_manifest(
    state: &Arc<State>,
    registry: &Registry,
    text: Vec<u8>,
    digest: Digest,
    tell: Tell<'_>,
) -> Result<Image, RootfsError> {
    let (manifest, digest) = match manifest::parse(&text, "the manifest")? {
        OciManifest::Image(manifest) => (manifest, digest),
        OciManifest::ImageIndex(index) => {
            let entry = manifest::choose(&index.manifests, manifest::platform())?;
            let digest = Digest::parse(&entry.digest)?;
            if let Some(image) = state.cached(&digest) {
                return Ok(image);
            }
            let (text, _) = registry.manifest(Some(&digest)).await?;
            match manifest::parse(&text, "the manifest")? {
                OciManifest::Image(manifest) => (manifest, digest),
                OciManifest::ImageIndex(_) => {
                    let why = "an index in it names another index";
                    return Err(RootfsError::malformed("the image", why));
                }
            }
        }
    };
    if let Some(image) = state.cached(&digest) {
        return Ok(image);
    }
    let blobs = manifest::blobs(&manifest, &state.settings)?;
    let config = registry.document(&manifest::blob(&manifest.config)?).await?;
    let (diff_ids, config) = manifest::config(&config, blobs.len(), manifest::platform())?;
    let lease = state.held.hold(&diff_ids);

    let missing = |id: &Digest| state.layout.layer_bytes(id).is_none();
    let wanted: Vec<&Blob> =
        blobs.iter().zip(&diff_ids).filter(|(_, id)| missing(id)).map(|(blob, _)| blob).collect();
    let of: u64 = wanted.iter().map(|blob| blob.size).sum();
    tell(Progress::Resolved { digest: digest.to_string(), missing: wanted.len(), bytes: of });

    let room = Arc::new(Room::new(&state.settings));
    let _abandon = Abandon(Arc::clone(&room));
    let (have, left) = (AtomicI64::new(0), AtomicUsize::new(wanted.len()));
    let arrived = |bytes: i64| {
        let bytes = have.fetch_add(bytes, Ordering::Relaxed) + bytes;
        tell(Progress::Fetched { bytes: u64::try_from(bytes).unwrap_or(0), of });
    };
    let layers = blobs.iter().zip(&diff_ids).map(|(blob, diff_id)| {
        let (arrived, left, room, lease) = (&arrived, &left, &room, &lease);
        async move {
            let get = || async move {
                // Another image may name the same bytes, and say that they unpack to something else.
                let _turn = state.turns.wait(&format!("blob {}", blob.digest)).await;
                registry.layer(&state.layout, blob, arrived).await
            };
            let was_missing = missing(diff_id);
            ensure(state, diff_id, room, lease, get).await?;
            if was_missing {
                let before = left.fetch_sub(1, Ordering::Relaxed);
                tell(Progress::Unpacked { missing: before.saturating_sub(1) });
            }
            Ok::<_, RootfsError>(())
        }
    });
    let layers = futures::stream::iter(layers.collect::<Vec<_>>());
    layers.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;

    let layers = diff_ids.iter().map(Digest::to_string).collect();
    let record = Record { digest: digest.to_string(), layers, config };
    state.remember(record, &diff_ids, lease)
}
