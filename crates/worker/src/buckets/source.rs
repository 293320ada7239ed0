//! What a bucket answers.

use std::path::Path as FilePath;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use metal9_volume::hex;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::listing::Object;
use super::{Bucket, BucketError};

/// Objects of a bucket at most: as many as files of a volume.
pub(super) const MOST_OBJECTS: usize = 100_000;
/// A bucket that cannot be connected to.
const CONNECT: Duration = Duration::from_secs(10);
/// A bucket that says nothing.
const SILENCE: Duration = Duration::from_secs(30);
/// How often, and how long from the first time, a request is repeated.
const RETRIES: usize = 3;
const RETRIED_FOR: Duration = Duration::from_secs(60);
/// Where buckets are if nobody says where.
const REGION: &str = "us-east-1";

/// A bucket that can be asked.
#[derive(Debug)]
pub(super) struct Source {
    bucket: Bucket,
    store: AmazonS3,
}

/// An object that was fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) version: String,
}

impl Source {
    pub(super) fn open(bucket: Bucket) -> Result<Self, BucketError> {
        metal9_tls::use_for_everything();
        let client = ClientOptions::new()
            // Objects may be large; it is silence that ends it.
            .with_timeout_disabled()
            .with_connect_timeout(CONNECT)
            .with_read_timeout(SILENCE)
            .with_allow_http(bucket.endpoint.starts_with("http://"));
        let retry = RetryConfig {
            max_retries: RETRIES,
            retry_timeout: RETRIED_FOR,
            ..RetryConfig::default()
        };
        // Never from the environment: what the worker's own machine may read is not the jobs'.
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&bucket.name)
            .with_region(if bucket.region.is_empty() { REGION } else { &bucket.region })
            .with_client_options(client)
            .with_retry(retry);
        builder = match &bucket.keys {
            Some(keys) => {
                builder.with_access_key_id(&keys.access).with_secret_access_key(&keys.secret)
            }
            None => builder.with_skip_signature(true),
        };
        if !bucket.path_style {
            builder = builder.with_virtual_hosted_style_request(true);
        }
        if !bucket.endpoint.is_empty() {
            builder = builder.with_endpoint(endpoint(&bucket));
        }
        let built = builder.build();
        let store = built.map_err(|source| BucketError::Settings {
            bucket: bucket.name.clone(),
            source: source.into(),
        })?;
        Ok(Self { bucket, store })
    }

    pub(super) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// All objects below the prefix.
    pub(super) async fn list(&self) -> Result<Vec<Object>, BucketError> {
        let prefix =
            (!self.bucket.prefix.is_root()).then(|| Path::from(self.bucket.prefix.as_str()));
        let mut found = self.store.list(prefix.as_ref());
        let mut objects = Vec::new();
        while let Some(meta) = found.try_next().await.map_err(|source| self.unlisted(source))? {
            if objects.len() == MOST_OBJECTS {
                let bucket = self.bucket.name.clone();
                return Err(BucketError::TooMany { bucket, most: MOST_OBJECTS });
            }
            let version = version(&meta);
            objects.push(Object { key: meta.location, size: meta.size, version });
        }
        Ok(objects)
    }

    fn unlisted(&self, source: object_store::Error) -> BucketError {
        BucketError::List { bucket: self.bucket.name.clone(), source: source.into() }
    }

    /// Writes an object to `target`; nothing if it was deleted since it was listed.
    pub(super) async fn fetch(
        &self,
        object: &Object,
        target: &FilePath,
    ) -> Result<Option<Fetched>, BucketError> {
        let bucket = || self.bucket.name.clone();
        let failed = |source: object_store::Error| BucketError::Fetch {
            bucket: bucket(),
            object: object.key.to_string(),
            source: source.into(),
        };
        let unwritten = |source| BucketError::Cache { bucket: bucket(), source };
        let answer = match self.store.get(&object.key).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            answer => answer.map_err(failed)?,
        };
        let (version, size) = (version(&answer.meta), answer.meta.size);
        let mut chunks = answer.into_stream();
        let mut file = tokio::fs::File::create(target).await.map_err(unwritten)?;
        let mut came = 0;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(failed)?;
            came += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            file.write_all(&chunk).await.map_err(unwritten)?;
        }
        file.flush().await.map_err(unwritten)?;
        if came != size {
            let (object, listed) = (object.key.to_string(), size);
            return Err(BucketError::CutOff { bucket: bucket(), object, came, listed });
        }
        Ok(Some(Fetched { version }))
    }

    /// The name of an object's content in the cache: nobody else's, and none that a bucket could
    /// choose.
    pub(super) fn name(&self, object: &Object, version: &str) -> String {
        let bucket = &self.bucket;
        let access = bucket.keys.as_ref().map_or("", |keys| &keys.access);
        let parts = [
            bucket.workspace.as_str(),
            &bucket.endpoint,
            &bucket.region,
            &bucket.name,
            access,
            object.key.as_ref(),
            version,
        ];
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(part);
        }
        hex(&hash.finalize())
    }
}

/// The address of the store; of the bucket, where buckets have hosts of their own.
fn endpoint(bucket: &Bucket) -> String {
    match bucket.endpoint.split_once("://") {
        Some((scheme, rest)) if !bucket.path_style => format!("{scheme}://{}.{rest}", bucket.name),
        _ => bucket.endpoint.clone(),
    }
}

/// What changes with an object's content.
fn version(meta: &ObjectMeta) -> String {
    let tag = meta.e_tag.as_deref().unwrap_or_default();
    format!("{tag} {} {}", meta.size, meta.last_modified.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buckets::Keys;
    use crate::buckets::tests::bucket;

    #[test]
    fn contents_of_others_have_other_names() {
        let object = Object { key: Path::from("a"), size: 1, version: String::new() };
        let name =
            |bucket: Bucket, version: &str| Source::open(bucket).unwrap().name(&object, version);
        let mut names = vec![
            name(bucket(), "1"),
            name(bucket(), "2"),
            name(Bucket { workspace: "x".to_owned(), ..bucket() }, "1"),
            name(Bucket { endpoint: "http://127.0.0.1:2".to_owned(), ..bucket() }, "1"),
            name(Bucket { keys: None, ..bucket() }, "1"),
            name(
                Bucket {
                    keys: Some(Keys { access: "B".to_owned(), secret: "very/secret".to_owned() }),
                    ..bucket()
                },
                "1",
            ),
        ];
        assert_eq!(name(bucket(), "1"), names[0]);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 6);
    }

    #[test]
    fn buckets_are_in_the_host_or_in_the_path() {
        assert_eq!(endpoint(&bucket()), "http://127.0.0.1:1");
        let hosted = Bucket { path_style: false, endpoint: "https://s3.x".to_owned(), ..bucket() };
        assert_eq!(endpoint(&hosted), "https://models.s3.x");
    }
}
