//! VerifyImageBuild: is this image there, or must it be built?

use metal9_proto::beta9::image::{VerifyImageBuildRequest, VerifyImageBuildResponse};
use metal9_types::ImageId;

use super::image_spec::from_verify;
use crate::error::ApiError;
use crate::shared::Shared;

/// Looks an image up. One that cannot be honoured does not exist either: BuildImage is where the
/// SDK shows a reason.
pub(super) async fn verify(
    shared: &Shared,
    mut request: VerifyImageBuildRequest,
    sdk_version: String,
) -> Result<VerifyImageBuildResponse, ApiError> {
    let named = request.image_id.take().filter(|id| !id.is_empty()).map(ImageId);
    let force = request.force_rebuild;
    let id = match named {
        Some(id) => id,
        None => from_verify(request, sdk_version).id(),
    };
    let exists = !force && shared.store.has_lock(&id).await?;
    Ok(VerifyImageBuildResponse { image_id: id.to_string(), valid: true, exists })
}
