//! The client API's service for images.

use metal9_proto::beta9::image as wire;
use tonic::{Request, Response, Status};

use super::{build_image, verify_image_build};
use crate::auth::sdk_version;
use crate::shared::SharedRef;

#[derive(Clone)]
pub(crate) struct ImageApi {
    shared: SharedRef,
}

impl ImageApi {
    pub(super) fn new(shared: SharedRef) -> Self {
        Self { shared }
    }
}

#[tonic::async_trait]
impl wire::image_service_server::ImageService for ImageApi {
    async fn verify_image_build(
        &self,
        request: Request<wire::VerifyImageBuildRequest>,
    ) -> Result<Response<wire::VerifyImageBuildResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        let sdk = sdk_version(request.metadata());
        let (request, workspace) = (request.into_inner(), caller.workspace);
        // A job may find what is there, for the functions that it calls.
        if request.force_rebuild {
            caller.require_client()?;
        }
        let answer = verify_image_build::verify(&self.shared, request, sdk, workspace).await?;
        Ok(Response::new(answer))
    }

    async fn build_image(
        &self,
        request: Request<wire::BuildImageRequest>,
    ) -> Result<Response<build_image::BuildStream>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        caller.require_client()?;
        let sdk = sdk_version(request.metadata());
        Ok(Response::new(build_image::build(&self.shared, request.into_inner(), sdk, caller)))
    }
}
