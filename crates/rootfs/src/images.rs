//! The cache of images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::collect::{self, Collected};
use crate::digest::Digest;
use crate::layout::{self, Layout};
use crate::lease::{Held, Turns};
use crate::manifest::ImageConfig;
use crate::room::Room;
use crate::unpack::Layer;
use crate::{Lease, RootfsError, build, load, pull};

/// How much the cache may hold, and how it is filled.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes on disk that [`Images::collect`] leaves, if what is in use leaves that much.
    pub budget_bytes: u64,
    /// Bytes that one image may have, packed as well as unpacked.
    pub max_image_bytes: u64,
    /// Bytes that one layer may have, packed as well as unpacked.
    pub max_layer_bytes: u64,
    /// Files and directories that one image may have in its layers together.
    pub max_entries: u64,
    /// What is added to the number of every account and group in the layers; 0 for nothing. All that
    /// is in one cache is unpacked with the same number.
    pub uid_shift: u32,
    /// Registries, as `host` or `host:port`, that are spoken to without TLS.
    pub insecure_registries: Vec<String>,
}

/// How a registry knows us.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The account.
    pub user: String,
    /// Its password, or a token that takes the place of one.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// How a pull is going.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Progress {
    /// It is known which image it is.
    Resolved {
        /// The digest of its manifest.
        digest: String,
        /// Layers that are not here yet.
        missing: usize,
        /// Bytes of those, packed.
        bytes: u64,
    },
    /// More of it has come.
    Fetched {
        /// Bytes of the missing layers that are here, of this and earlier tries.
        bytes: u64,
        /// Bytes of all missing layers.
        of: u64,
    },
    /// A layer is unpacked.
    Unpacked {
        /// Layers that are still missing.
        missing: usize,
    },
    /// Something is not as it should be, and does not keep the image from being had.
    Warning(String),
}

/// An image that is ready to be mounted.
#[derive(Clone, Debug)]
pub struct Image {
    /// The digest of its manifest for this kind of machine, as `sha256:…`.
    pub digest: String,
    /// The directories of its layers, the top one first, as overlayfs wants them. Nobody may write
    /// to them.
    pub layers: Vec<PathBuf>,
    /// How its programs want to be started.
    pub config: ImageConfig,
    /// Keeps the layers.
    pub lease: Lease,
}

/// What an image is made of, as it is remembered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) digest: String,
    /// Diff ids, the lowest layer first.
    pub(crate) layers: Vec<String>,
    pub(crate) config: ImageConfig,
}

impl Record {
    pub(crate) fn diff_ids(&self) -> Result<Vec<Digest>, RootfsError> {
        self.layers.iter().map(|id| Digest::parse(id)).collect()
    }
}

/// The images of a machine, in one directory that one process has at a time. Clones are the same
/// cache.
#[derive(Clone, Debug)]
pub struct Images {
    pub(crate) state: Arc<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) layout: Layout,
    pub(crate) settings: Settings,
    pub(crate) held: Arc<Held>,
    pub(crate) turns: Turns,
    /// Held by a build, and by whoever empties buildah's storage.
    pub(crate) building: tokio::sync::Mutex<()>,
}

impl Images {
    /// Opens a cache, which is made if it is not there. What a killed process left unfinished is
    /// removed.
    ///
    /// # Errors
    /// When this is not Linux or we are not root, when another process has the cache, or the disk
    /// refuses.
    pub async fn open(directory: &Path, settings: Settings) -> Result<Self, RootfsError> {
        let missing = match (cfg!(target_os = "linux"), nix::unistd::geteuid().is_root()) {
            (false, _) => Some("overlay file systems are Linux's"),
            (true, false) => Some("files of other accounts are made by root only"),
            (true, true) => None,
        };
        if let Some(why) = missing {
            let what = "root file systems from images";
            return Err(RootfsError::Unsupported { what, why: why.to_owned() });
        }
        let directory = directory.to_owned();
        let open = move || {
            let layout = Layout::open(&directory)?;
            build::sweep(&layout.storage);
            Ok(layout)
        };
        let layout = blocking(open).await?;
        let held = Arc::new(Held::default());
        let (turns, building) = (Turns::default(), tokio::sync::Mutex::new(()));
        Ok(Self { state: Arc::new(State { layout, settings, held, turns, building }) })
    }

    /// Gets an image of a registry. A reference with a digest is asked for once; a tag each time, and
    /// if the registry cannot be reached, what the tag stood for last is taken, with a warning. Both
    /// only for who showed the same credentials before: what one account may read is nobody else's.
    ///
    /// What has come before an error, or before the future is dropped, is not fetched again.
    ///
    /// # Errors
    /// When the image cannot be had, is not what it should be, or is too large.
    pub async fn pull(
        &self,
        reference: &str,
        credentials: Option<&Credentials>,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<Image, RootfsError> {
        let progress = std::sync::Mutex::new(progress);
        let tell = |event| {
            let mut progress = progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            (*progress)(event);
        };
        pull::pull(&self.state, reference, credentials, &tell).await
    }

    /// The digest that a reference stands for now, without getting the image.
    ///
    /// # Errors
    /// When the registry does not say.
    pub async fn resolve(
        &self,
        reference: &str,
        credentials: Option<&Credentials>,
    ) -> Result<String, RootfsError> {
        pull::resolve(&self.state, reference, credentials).await
    }

    /// Gets the image of an OCI image layout: a directory, or a tar archive of one, packed or not.
    ///
    /// # Errors
    /// When it is not what it should be, is too large, or has several images for this machine.
    pub async fn load(&self, path: &Path) -> Result<Image, RootfsError> {
        load::load(&self.state, path).await
    }

    /// An image that is here, by the digest of its manifest.
    #[must_use]
    pub fn get(&self, digest: &str) -> Option<Image> {
        self.state.cached(&Digest::parse(digest).ok()?)
    }

    /// Removes what was not used for longest until the cache keeps to its budget, or to `most` bytes
    /// where that is less, or only what is in use is left.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn collect(&self, most: u64) -> Result<Collected, RootfsError> {
        collect::collect(&self.state, most).await
    }

    /// Bytes that the cache takes.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn disk_bytes(&self) -> Result<u64, RootfsError> {
        collect::disk_bytes(&self.state).await
    }
}

impl State {
    /// An image with all its layers, if it is here. Notes that it is used.
    pub(crate) fn cached(&self, digest: &Digest) -> Option<Image> {
        let path = self.layout.images.join(format!("{}.json", digest.file_name()));
        let record: Record = layout::read(&path)?;
        let diff_ids = record.diff_ids().ok()?;
        // Held first: what is there then stays there.
        let lease = self.held.hold(&diff_ids);
        let complete = diff_ids.iter().all(|id| self.layout.layer_bytes(id).is_some());
        if !complete {
            return None;
        }
        layout::touch(&path);
        Some(self.image(record, &diff_ids, lease))
    }

    /// Remembers an image whose layers are all here.
    pub(crate) fn remember(
        &self,
        record: Record,
        diff_ids: &[Digest],
        lease: Lease,
    ) -> Result<Image, RootfsError> {
        let digest = Digest::parse(&record.digest)?;
        let path = self.layout.images.join(format!("{}.json", digest.file_name()));
        self.layout.write(&path, &record)?;
        Ok(self.image(record, diff_ids, lease))
    }

    fn image(&self, record: Record, diff_ids: &[Digest], lease: Lease) -> Image {
        let layers = top_first(diff_ids).into_iter().map(|id| self.layout.layer(id)).collect();
        Image { digest: record.digest, layers, config: record.config, lease }
    }
}

/// Layers as overlayfs wants them: the top one first, each once. One that is there twice hides its
/// lower self completely.
fn top_first(lowest_first: &[Digest]) -> Vec<&Digest> {
    let mut layers: Vec<&Digest> = Vec::new();
    for layer in lowest_first.iter().rev() {
        if !layers.contains(&layer) {
            layers.push(layer);
        }
    }
    layers
}

/// Where a layer comes from.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) file: std::fs::File,
    /// The digest that is still to be checked.
    pub(crate) unchecked: Option<Digest>,
    /// Removed once it is unpacked.
    pub(crate) temporary: Option<PathBuf>,
}

/// Makes sure that a layer is there; `get` is called if it is not.
pub(crate) async fn ensure<R>(
    state: &Arc<State>,
    diff_id: &Digest,
    room: &Arc<Room>,
    lease: &Lease,
    get: impl FnOnce() -> R,
) -> Result<(), RootfsError>
where
    R: Future<Output = Result<Packed, RootfsError>>,
{
    let turn = state.turns.wait(diff_id.as_str()).await;
    if let Some(bytes) = state.layout.layer_bytes(diff_id) {
        return room.take_bytes(bytes);
    }
    let packed = get().await?;
    let (state, diff_id) = (Arc::clone(state), diff_id.clone());
    let (room, lease) = (Arc::clone(room), lease.clone());
    blocking(move || {
        // If nobody waits for this any more, it is still alone until it notices.
        let _kept = (turn, lease);
        let aside = state.layout.aside()?;
        let layer = Layer {
            diff_id: &diff_id,
            blob: packed.unchecked.as_ref(),
            limit: state.settings.max_layer_bytes,
            shift: state.settings.uid_shift,
        };
        layer.unpack(packed.file, aside.path(), &room)?;
        state.layout.keep_layer(aside, &diff_id)?;
        if let Some(path) = packed.temporary {
            // It would be fetched never again, and is removed with what is old.
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    })
    .await
}

/// Runs what waits for the disk where it keeps nobody else waiting.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RootfsError> + Send + 'static,
) -> Result<T, RootfsError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => {
                let why = error.to_string();
                Err(RootfsError::Unsupported { what: "the work of a runtime that ends", why })
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_is_there_twice_is_mounted_once_at_the_top() {
        let [a, b] = [Digest::of(b"a"), Digest::of(b"b")];
        assert_eq!(top_first(&[a.clone(), b.clone()]), [&b, &a]);
        assert_eq!(top_first(&[a.clone(), b.clone(), a.clone()]), [&a, &b]);
    }

    #[test]
    fn passwords_are_not_shown() {
        let credentials = Credentials { user: "me".into(), password: "hush".into() };
        assert!(!format!("{credentials:?}").contains("hush"));
    }
}
