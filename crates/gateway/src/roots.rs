//! Root filesystems: what making them takes of a workspace's secrets, and who can.

use metal9_proto::worker as wire;
use metal9_store::Actor;
use metal9_types::{ImageSpec, Refusal, RootSource};

use crate::error::ApiError;
use crate::shared::Shared;

/// What a worker needs to make an image's root filesystem; nothing if it needs nothing. That `who` got
/// it is in the audit log before it is told.
///
/// # Errors
///
/// If a secret is not there, or the store cannot be used.
pub(crate) async fn means(
    shared: &Shared,
    image: &ImageSpec,
    who: &Actor,
) -> Result<Option<wire::RootMeans>, ApiError> {
    let (credentials, secrets) = (&image.credentials, &image.secrets);
    let Some(owner) = image.owner.filter(|_| !credentials.is_empty() || !secrets.is_empty()) else {
        return Ok(None);
    };
    let values = async |names: &[String]| -> Result<Vec<wire::EnvVar>, ApiError> {
        let values = shared.store.secret_values(owner, names).await?.into_iter();
        Ok(values.map(|(name, value)| wire::EnvVar { name, value }).collect())
    };
    let means = wire::RootMeans {
        credentials: values(credentials).await?,
        secrets: values(secrets).await?,
    };
    let used = who.did("secret.use", [&credentials[..], &secrets[..]].concat().join(","));
    shared.store.audit_later(used.with(format!("image {}", image.id()))).await?;
    Ok(Some(means))
}

/// Why an image cannot be made by those who are connected, of whom the best has roots of this kind.
pub(crate) fn refusal(image: &ImageSpec, best: RootSource) -> String {
    match best {
        RootSource::Host => {
            let lines: Vec<_> = image.native_refusals().iter().map(Refusal::to_string).collect();
            format!(
                "this image cannot run on native workers, and no other is connected\n{}\nhint: or start \
                 a worker that makes containers, with the setting runtime = \"runc\" or \"runsc\"",
                lines.join("\n")
            )
        }
        _ => "this image has to be built, and no worker that is connected has buildah\n\
              hint: install the package `buildah` on a container worker's machine and start the worker \
              again"
            .to_owned(),
    }
}
