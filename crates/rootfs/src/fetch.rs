//! Talks to one registry about one image.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use oci_client::client::{BlobResponse, ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

use crate::digest::{Digest, Hasher};
use crate::images::{Packed, Settings, blocking};
use crate::layout::Layout;
use crate::manifest::{Blob, DOCUMENT_BYTES};
use crate::{Credentials, RootfsError};

/// How long a registry may take to let us in.
const CONNECT: Duration = Duration::from_secs(15);
/// How long it may send nothing.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a manifest may take in all.
const MANIFEST: Duration = Duration::from_secs(120);
/// Tries in a row that bring nothing.
const TRIES: u32 = 5;
/// The pause after the first of them; each later one is twice as long.
const PAUSE: Duration = Duration::from_millis(200);

const MANIFESTS: [&str; 4] = [
    OCI_IMAGE_MEDIA_TYPE,
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
];

/// An image of a registry.
pub(crate) struct Registry {
    client: Client,
    reference: Reference,
    auth: RegistryAuth,
}

impl Registry {
    pub(crate) fn new(
        reference: Reference,
        credentials: Option<&Credentials>,
        settings: &Settings,
    ) -> Result<Self, RootfsError> {
        metal9_tls::use_for_everything();
        let auth = match credentials {
            Some(known) => RegistryAuth::Basic(known.user.clone(), known.password.clone()),
            None => RegistryAuth::Anonymous,
        };
        let config = ClientConfig {
            protocol: ClientProtocol::HttpsExcept(settings.insecure_registries.clone()),
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENCE),
            ..ClientConfig::default()
        };
        // One for each pull: it keeps the first credentials that it is shown for a registry.
        let client = Client::try_from(config).map_err(|error| RootfsError::Registry {
            reference: reference.to_string(),
            source: Box::new(error),
        })?;
        Ok(Self { client, reference, auth })
    }

    /// A manifest or an index: the one the reference names, or one with a digest.
    pub(crate) async fn manifest(
        &self,
        digest: Option<&Digest>,
    ) -> Result<(Vec<u8>, Digest), RootfsError> {
        let reference = match digest {
            Some(digest) => self.reference.clone_with_digest(digest.to_string()),
            None => self.reference.clone(),
        };
        let asked = self.client.pull_manifest_raw(&reference, &self.auth, &MANIFESTS);
        let answer = tokio::time::timeout(MANIFEST, asked).await.unwrap_or_else(|_| {
            let late = io::Error::new(io::ErrorKind::TimedOut, "the manifest did not come in time");
            Err(late.into())
        });
        let (text, _) = answer.map_err(|error| self.failed(error))?;
        let found = Digest::of(&text);
        if let Some(expected) = reference.digest() {
            Digest::parse(expected)?.check(&found, "the manifest")?;
        }
        if text.len() as u64 > DOCUMENT_BYTES {
            let what = "the manifest".to_owned();
            return Err(RootfsError::TooLarge { what, limit: DOCUMENT_BYTES });
        }
        Ok((text.to_vec(), found))
    }

    /// A small blob.
    pub(crate) async fn document(&self, blob: &Blob) -> Result<Vec<u8>, RootfsError> {
        let what = "the image's configuration";
        if blob.size > DOCUMENT_BYTES {
            return Err(RootfsError::TooLarge { what: what.to_owned(), limit: DOCUMENT_BYTES });
        }
        let asked = self.client.pull_blob_stream(&self.reference, blob.digest.as_str());
        let mut stream = asked.await.map_err(|error| self.failed(error))?;
        let mut text = Vec::new();
        while let Some(bytes) = stream.next().await {
            text.extend(bytes.map_err(|error| self.failed(error.into()))?);
            if text.len() as u64 > blob.size {
                return Err(RootfsError::malformed(what, "it is longer than the manifest says"));
            }
        }
        blob.digest.check(&Digest::of(&text), what)?;
        Ok(text)
    }

    /// A layer as a file in the cache. Goes on where an earlier try ended. `arrived` is told how many
    /// bytes more are there; less than none if they have to come again.
    pub(crate) async fn layer(
        &self,
        layout: &Layout,
        blob: &Blob,
        arrived: &(dyn Fn(i64) + Sync),
    ) -> Result<Packed, RootfsError> {
        let path = layout.blobs.join(blob.digest.file_name());
        let mut resumed = true;
        loop {
            let mut partial = Partial::open(&path, blob.size).await?;
            resumed &= partial.have > 0;
            arrived(partial.have.cast_signed());
            self.fill(blob, &mut partial, arrived).await?;
            let (have, mut file) = (partial.have, partial.file);
            match blob.digest.check(&partial.hasher.finish(), format!("layer {}", blob.digest)) {
                Ok(()) => {
                    file.rewind().map_err(RootfsError::files("read", &path))?;
                    return Ok(Packed { file, unchecked: None, temporary: Some(path) });
                }
                Err(error) => {
                    std::fs::remove_file(&path).map_err(RootfsError::files("remove", &path))?;
                    arrived(-have.cast_signed());
                    // What was there from an earlier try may be what is wrong.
                    if !resumed {
                        return Err(error);
                    }
                    resumed = false;
                }
            }
        }
    }

    async fn fill(
        &self,
        blob: &Blob,
        partial: &mut Partial,
        arrived: &(dyn Fn(i64) + Sync),
    ) -> Result<(), RootfsError> {
        let mut tries = 0;
        while partial.have < blob.size {
            let before = partial.have;
            let Err(error) = self.append(blob, partial, arrived).await? else { continue };
            tries = if partial.have > before { 1 } else { tries + 1 };
            if tries >= TRIES {
                return Err(self.failed(error));
            }
            tracing::info!(layer = %blob.digest, have = partial.have, %error, "a layer broke off");
            tokio::time::sleep(PAUSE * 2_u32.pow(tries - 1)).await;
        }
        Ok(())
    }

    /// Reads on until the end, or until something goes wrong that may go well the next time.
    async fn append(
        &self,
        blob: &Blob,
        partial: &mut Partial,
        arrived: &(dyn Fn(i64) + Sync),
    ) -> Result<Result<(), OciDistributionError>, RootfsError> {
        let digest = blob.digest.as_str();
        // Without the addresses that a manifest may name beside: they lead anywhere.
        let asked =
            self.client.pull_blob_stream_partial(&self.reference, digest, partial.have, None);
        let mut stream = match asked.await {
            Ok(BlobResponse::Partial(stream)) => stream,
            Ok(BlobResponse::Full(stream)) => {
                arrived(-partial.have.cast_signed());
                partial.empty()?;
                stream
            }
            Err(error) if may_pass(&error) => return Ok(Err(error)),
            Err(error) => return Err(self.failed(error)),
        };
        // What comes after the last byte is not waited for: the library compares digests there, and
        // takes the parts that came earlier for missing.
        while partial.have < blob.size {
            match stream.next().await {
                None => {
                    let early = io::Error::new(io::ErrorKind::UnexpectedEof, "it ended too early");
                    return Ok(Err(early.into()));
                }
                Some(Err(error)) => return Ok(Err(error.into())),
                Some(Ok(bytes)) => {
                    let left = blob.size - partial.have;
                    if bytes.len() as u64 > left {
                        let what = format!("layer {}", blob.digest);
                        return Err(RootfsError::malformed(what, "it is longer than it should be"));
                    }
                    partial.write(&bytes)?;
                    arrived(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
                }
            }
        }
        Ok(Ok(()))
    }

    fn failed(&self, error: OciDistributionError) -> RootfsError {
        let reference = self.reference.to_string();
        let with_credentials = self.auth != RegistryAuth::Anonymous;
        let is_missing = |code: &OciErrorCode| {
            use OciErrorCode as Code;
            matches!(code, Code::ManifestUnknown | Code::NameUnknown | Code::NotFound)
        };
        let is_denied =
            |code: &OciErrorCode| matches!(code, OciErrorCode::Unauthorized | OciErrorCode::Denied);
        match &error {
            // What was said is not told: it may be of a server that only the registry named.
            OciDistributionError::AuthenticationFailure(_)
            | OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::ServerError { code: 401 | 403, .. } => {
                RootfsError::Unauthorized { reference, with_credentials }
            }
            OciDistributionError::RegistryError { envelope, .. }
                if envelope.errors.iter().any(|error| is_denied(&error.code)) =>
            {
                RootfsError::Unauthorized { reference, with_credentials }
            }
            OciDistributionError::RegistryError { envelope, .. }
                if envelope.errors.iter().any(|error| is_missing(&error.code)) =>
            {
                RootfsError::NotFound { reference, source: Box::new(error) }
            }
            OciDistributionError::ImageManifestNotFoundError(_)
            | OciDistributionError::ServerError { code: 404, .. } => {
                RootfsError::NotFound { reference, source: Box::new(error) }
            }
            OciDistributionError::DigestError(_) => RootfsError::malformed("the manifest", error),
            _ => RootfsError::Registry { reference, source: Box::new(error) },
        }
    }
}

/// Whether the same may go well a moment later.
fn may_pass(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::RequestError(_) | OciDistributionError::IoError(_) => true,
        OciDistributionError::ServerError { code, .. } => *code == 429 || *code >= 500,
        OciDistributionError::RegistryError { envelope, .. } => {
            envelope.errors.iter().any(|error| error.code == OciErrorCode::Toomanyrequests)
        }
        _ => false,
    }
}

/// What has come of a blob.
struct Partial {
    path: PathBuf,
    file: File,
    have: u64,
    hasher: Hasher,
}

impl Partial {
    async fn open(path: &Path, size: u64) -> Result<Self, RootfsError> {
        let path = path.to_owned();
        blocking(move || {
            let failed = || RootfsError::files("open", &path);
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(&path).map_err(failed())?;
            let mut hasher = Hasher::default();
            let mut have = 0;
            let mut buffer = vec![0; 256 * 1024];
            loop {
                let count = file.read(&mut buffer).map_err(failed())?;
                hasher.update(&buffer[..count]);
                have += count as u64;
                if count == 0 {
                    break;
                }
            }
            let mut partial = Self { path, file, have, hasher };
            if have > size {
                partial.empty()?;
            }
            Ok(partial)
        })
        .await
    }

    fn empty(&mut self) -> Result<(), RootfsError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(RootfsError::files("empty", &self.path))?;
        self.have = 0;
        self.hasher = Hasher::default();
        Ok(())
    }

    /// Into the page cache, which takes no longer than what else is done with them.
    fn write(&mut self, bytes: &[u8]) -> Result<(), RootfsError> {
        self.file.write_all(bytes).map_err(RootfsError::files("write", &self.path))?;
        self.hasher.update(bytes);
        self.have += bytes.len() as u64;
        Ok(())
    }
}
