//! VerifyImageBuild: is this image there, or must it be built?

use metal9_proto::beta9::image::{VerifyImageBuildRequest, VerifyImageBuildResponse};
use metal9_types::{ImageId, RootSource, WorkspaceId};

use super::image_spec::from_verify;
use crate::error::ApiError;
use crate::macs;
use crate::shared::Shared;

/// Looks an image up. One that cannot be honoured does not exist either: BuildImage is where the
/// SDK shows a reason.
pub(super) async fn verify(
    shared: &Shared,
    mut request: VerifyImageBuildRequest,
    sdk_version: String,
    workspace: WorkspaceId,
) -> Result<VerifyImageBuildResponse, ApiError> {
    let named = request.image_id.take().filter(|id| !id.is_empty()).map(ImageId);
    let force = request.force_rebuild;
    let id = match named {
        Some(id) => id,
        None => from_verify(request, sdk_version, workspace).id(),
    };
    if force {
        shared.impossible.forget(&id);
    }
    let exists =
        !force && shared.store.has_lock(&id).await? && is_there(shared, &id, workspace).await?;
    Ok(VerifyImageBuildResponse { image_id: id.to_string(), valid: true, exists })
}

/// `true` if the image, which was resolved, is nobody else's, and known for Macs if it may come to one.
async fn is_there(shared: &Shared, id: &ImageId, workspace: WorkspaceId) -> Result<bool, ApiError> {
    let image = shared.store.image(id).await?;
    match image.filter(|image| image.owner.is_none_or(|owner| owner == workspace)) {
        None => Ok(false),
        Some(image) if image.root() != RootSource::Host => Ok(true),
        Some(_) => known_for_macs(shared, id).await,
    }
}

/// `true` if there are no Macs, or it is known what the image is on them. If not, the client asks
/// for a build, which tells.
async fn known_for_macs(shared: &Shared, id: &ImageId) -> Result<bool, ApiError> {
    let Some(target) = macs::connected(shared, None) else { return Ok(true) };
    let impossible = shared.impossible.reason(id, target).is_some();
    Ok(impossible || macs::has_lock(shared, id, target).await?)
}
