//! From an OCI image layout into the cache.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use oci_client::manifest::{OciImageIndex, OciManifest};

use crate::decompress;
use crate::digest::Digest;
use crate::entry;
use crate::images::{Packed, Record, State, blocking, ensure};
use crate::manifest::{self, Blob, DOCUMENT_BYTES};
use crate::room::{Abandon, Limited, Room, Tripped};
use crate::{Image, RootfsError};

/// Bytes of an archive beside its blobs: headers and documents.
const BESIDE_BLOBS: u64 = 64 * 1024 * 1024;

/// Indexes that lead to one another before a manifest comes.
const DEEPEST: usize = 4;

/// What is known of an image before its layers.
struct Outline {
    digest: Digest,
    blobs: Vec<Blob>,
    diff_ids: Vec<Digest>,
    config: manifest::ImageConfig,
}

pub(crate) async fn load(state: &Arc<State>, path: &Path) -> Result<Image, RootfsError> {
    let room = Arc::new(Room::new(&state.settings));
    let _abandon = Abandon(Arc::clone(&room));
    let (outline, directory, aside) = {
        let (state, path, room) = (Arc::clone(state), path.to_owned(), Arc::clone(&room));
        blocking(move || {
            let facts = fs::metadata(&path).map_err(RootfsError::files("open", &path))?;
            let (directory, aside) = if facts.is_dir() {
                (path, None)
            } else {
                let aside = state.layout.aside()?;
                unpack(&path, aside.path(), &state, &room)?;
                (aside.path().to_owned(), Some(aside))
            };
            let source = Source { directory };
            let outline = source.outline(&state)?;
            Ok((outline, source.directory, aside))
        })
        .await?
    };
    if let Some(image) = state.cached(&outline.digest) {
        return Ok(image);
    }
    let lease = state.held.hold(&outline.diff_ids);
    for (blob, diff_id) in outline.blobs.iter().zip(&outline.diff_ids) {
        let get = || async {
            let path = blob_path(&directory, &blob.digest);
            let file = open(&path, blob.size)?;
            Ok(Packed { file, unchecked: Some(blob.digest.clone()), temporary: None })
        };
        ensure(state, diff_id, &room, &lease, get).await?;
    }
    drop(aside);
    let layers = outline.diff_ids.iter().map(Digest::to_string).collect();
    let record = Record { digest: outline.digest.to_string(), layers, config: outline.config };
    state.remember(record, &outline.diff_ids, lease)
}

/// An image layout in a directory.
struct Source {
    directory: PathBuf,
}

impl Source {
    fn outline(&self, state: &State) -> Result<Outline, RootfsError> {
        let path = self.directory.join("index.json");
        let mut text = Vec::new();
        open(&path, DOCUMENT_BYTES)?
            .take(DOCUMENT_BYTES)
            .read_to_end(&mut text)
            .map_err(RootfsError::files("read", &path))?;
        for _ in 0..DEEPEST {
            let index: OciImageIndex = serde_json::from_slice(&text)
                .map_err(|error| RootfsError::malformed("the layout's index", error))?;
            let entry = manifest::choose(&index.manifests, manifest::platform())?;
            let size = u64::try_from(entry.size).unwrap_or(0);
            let blob = Blob { digest: Digest::parse(&entry.digest)?, size };
            text = self.document(&blob, "the manifest")?;
            let OciManifest::Image(manifest) = manifest::parse(&text, "the manifest")? else {
                continue;
            };
            let blobs = manifest::blobs(&manifest, &state.settings)?;
            let what = "the image's configuration";
            let config = self.document(&manifest::blob(&manifest.config)?, what)?;
            let (diff_ids, config) = manifest::config(&config, blobs.len(), manifest::platform())?;
            return Ok(Outline { digest: blob.digest, blobs, diff_ids, config });
        }
        Err(RootfsError::malformed("the layout", "its indexes lead to one another"))
    }

    fn document(&self, blob: &Blob, what: &str) -> Result<Vec<u8>, RootfsError> {
        let limit = DOCUMENT_BYTES;
        if blob.size > limit {
            return Err(RootfsError::TooLarge { what: what.to_owned(), limit });
        }
        let path = blob_path(&self.directory, &blob.digest);
        let mut text = Vec::new();
        open(&path, blob.size)?
            .take(limit)
            .read_to_end(&mut text)
            .map_err(RootfsError::files("read", &path))?;
        blob.digest.check(&Digest::of(&text), what)?;
        Ok(text)
    }
}

fn blob_path(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join("blobs/sha256").join(digest.hex())
}

/// Opens a file of at most this size, and nothing but a file.
fn open(path: &Path, size: u64) -> Result<File, RootfsError> {
    let failed = || RootfsError::files("read", path);
    let flags = O_NOFOLLOW | O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed())?;
    let facts = file.metadata().map_err(failed())?;
    if !facts.is_file() {
        let kind = io::Error::new(io::ErrorKind::InvalidInput, "it is no file");
        return Err(failed()(kind));
    }
    if facts.len() > size {
        let what = format!("`{}` of the layout", path.display());
        return Err(RootfsError::malformed(what, format!("it has more than {size} bytes")));
    }
    Ok(file)
}

/// Unpacks an archive of a layout. Nothing but a layout's files is taken out of it.
fn unpack(path: &Path, target: &Path, state: &State, room: &Arc<Room>) -> Result<(), RootfsError> {
    let tripped = Tripped::default();
    let attempt = || {
        let file = File::open(path)?;
        let limit = state.settings.max_image_bytes.saturating_add(BESIDE_BLOBS);
        let plain = Limited {
            inner: decompress::unpacked(file)?,
            room: Arc::clone(room),
            tripped: tripped.clone(),
            what: "the archive of the image".to_owned(),
            limit,
            left: limit,
        };
        fs::create_dir_all(target.join("blobs/sha256"))?;
        for entry in tar::Archive::new(plain).entries()? {
            let mut entry = entry?;
            let name = entry::relative(&entry.path_bytes()).unwrap_or_default();
            let is_ours = name == Path::new("index.json")
                || name
                    .strip_prefix("blobs/sha256")
                    .is_ok_and(|rest| Digest::parse(&format!("sha256:{}", rest.display())).is_ok());
            if is_ours && entry.header().entry_type().is_file() {
                let mut file = File::create_new(target.join(name))?;
                io::copy(&mut entry, &mut file)?;
            }
        }
        Ok(())
    };
    let result: io::Result<()> = attempt();
    result.map_err(|error| match tripped.take() {
        Some(limit) => limit,
        None => RootfsError::malformed(format!("`{}`", path.display()), error),
    })
}
