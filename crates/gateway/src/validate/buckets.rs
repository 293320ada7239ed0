//! The buckets of a stub.

use metal9_proto::beta9::types::MountPointConfig;
use metal9_types::{BucketKeys, BucketMount};
use metal9_volume::VolumePath;

use super::{refuse, shown};
use crate::error::ApiError;

/// Bytes of a bucket's name at most; Amazon allows 63, others more.
const MAX_BUCKET: usize = 255;
/// Bytes of an endpoint's address.
const MAX_ENDPOINT: usize = 2048;
/// Bytes of a region's name.
const MAX_REGION: usize = 64;

/// Checks what a client says about a bucket. A name with a `/` is a bucket and a part of it.
pub(crate) fn bucket(
    config: MountPointConfig,
    mount_path: String,
) -> Result<BucketMount, ApiError> {
    let (bucket, prefix) = config.bucket_name.split_once('/').unwrap_or((&config.bucket_name, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let named = !bucket.is_empty() && bucket.len() <= MAX_BUCKET && bucket.chars().all(plain);
    if !named || bucket.starts_with('.') {
        return Err(refuse(
            format!("`{}` is not the name of a bucket", shown(bucket)),
            "write CloudBucket(name=\"bucket\", …), or name=\"bucket/directory\" for a part of it",
        ));
    }
    let prefix = VolumePath::parse(prefix)?.to_string();
    if !config.read_only {
        return Err(refuse(
            format!("cloud buckets can be read only, and `{bucket}` is to be written"),
            "set CloudBucketConfig(read_only=True, …); what a function makes goes into a `Volume` \
             or an `Output`",
        ));
    }
    Ok(BucketMount {
        bucket: bucket.to_owned(),
        prefix,
        mount_path,
        endpoint: endpoint(config.endpoint_url)?,
        region: region(config.region)?,
        path_style: config.force_path_style,
        keys: keys(bucket, config.access_key, config.secret_key)?,
    })
}

fn endpoint(text: String) -> Result<String, ApiError> {
    if text.is_empty() {
        return Ok(text);
    }
    let read: Option<http::Uri> = text.parse().ok();
    let good = read.as_ref().is_some_and(|uri| {
        let host = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        let web = uri.scheme_str().is_some_and(|scheme| scheme == "http" || scheme == "https");
        host && web && uri.query().is_none()
    });
    if good && text.len() <= MAX_ENDPOINT {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    Err(refuse(
        format!("the endpoint `{}` of a cloud bucket is no address", shown(&text)),
        "write it as https://host, without keys; those are in secrets",
    ))
}

fn region(text: String) -> Result<String, ApiError> {
    if text.len() <= MAX_REGION && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Ok(text);
    }
    let what = format!("the region `{}` of a cloud bucket is no name", shown(&text));
    Err(refuse(what, "write it as the object store does, for example us-east-1"))
}

fn keys(bucket: &str, access: String, secret: String) -> Result<Option<BucketKeys>, ApiError> {
    match (access.is_empty(), secret.is_empty()) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(BucketKeys { access, secret })),
        _ => Err(refuse(
            format!("the cloud bucket `{bucket}` has one key, and needs both"),
            "name two secrets as access_key and secret_key, or neither if the bucket is public",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(bucket: &str) -> MountPointConfig {
        MountPointConfig {
            bucket_name: bucket.to_owned(),
            access_key: "A".to_owned(),
            secret_key: "S".to_owned(),
            read_only: true,
            ..MountPointConfig::default()
        }
    }

    fn refusal(config: MountPointConfig) -> String {
        bucket(config, "b".to_owned()).unwrap_err().to_string()
    }

    #[test]
    fn a_name_may_go_on_with_a_part_of_the_bucket() {
        let found = bucket(config("models/llama//8b/"), "b".to_owned()).unwrap();
        assert_eq!((found.bucket.as_str(), found.prefix.as_str()), ("models", "llama/8b"));
        for name in ["", "/a", "a/../b", "a b", "..", "a?x"] {
            assert!(bucket(config(name), "b".to_owned()).is_err(), "{name}");
        }
    }

    #[test]
    fn a_bucket_that_is_to_be_written_is_refused_in_words() {
        let written = MountPointConfig { read_only: false, ..config("b") };
        let refusal = refusal(written);
        assert!(refusal.contains("read only") && refusal.contains("read_only=True"), "{refusal}");
    }

    #[test]
    fn endpoints_are_addresses_without_keys() {
        for good in ["", "http://127.0.0.1:9000", "https://s3.example/", "https://s3.example/x"] {
            let config = MountPointConfig { endpoint_url: good.to_owned(), ..config("b") };
            assert!(bucket(config, "b".to_owned()).is_ok(), "{good}");
        }
        for bad in ["s3.example", "ftp://a", "https://me:pw@a", "https://a/?x=1", "file:///etc"] {
            let config = MountPointConfig { endpoint_url: bad.to_owned(), ..config("b") };
            assert!(refusal(config).contains("endpoint"), "{bad}");
        }
    }

    #[test]
    fn keys_come_in_pairs() {
        let one = MountPointConfig { secret_key: String::new(), ..config("b") };
        assert!(refusal(one).contains("needs both"));
        let none = MountPointConfig {
            access_key: String::new(),
            secret_key: String::new(),
            ..config("b")
        };
        assert_eq!(bucket(none, "b".to_owned()).unwrap().keys, None);
    }
}
