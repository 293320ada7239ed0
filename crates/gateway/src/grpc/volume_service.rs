//! The client API's service for volumes. Jobs have their volumes as directories and need none of it.

use metal9_proto::beta9::volume as wire;
use tonic::{Request, Response, Status, Streaming};

use super::{reply, volume};
use crate::shared::SharedRef;

#[derive(Clone)]
pub(crate) struct VolumeApi {
    shared: SharedRef,
}

impl VolumeApi {
    pub(super) fn new(shared: SharedRef) -> Self {
        Self { shared }
    }
}

/// Serves one call: finds out who calls, does it, and says `ok = false` with the reason where it
/// cannot be done.
macro_rules! serve {
    ($self:ident, $request:ident, $function:path, $Response:ident) => {{
        let caller = $self.shared.grpc_client($request.metadata()).await?;
        let result = $function(&$self.shared, &caller, $request.into_inner()).await;
        reply(result, |err_msg| wire::$Response { err_msg, ..Default::default() })
    }};
}

#[tonic::async_trait]
impl wire::volume_service_server::VolumeService for VolumeApi {
    async fn get_or_create_volume(
        &self,
        request: Request<wire::GetOrCreateVolumeRequest>,
    ) -> Result<Response<wire::GetOrCreateVolumeResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        let result = volume::whole::get_or_create(&self.shared, &caller, request.into_inner());
        reply(result.await, |err_msg| wire::GetOrCreateVolumeResponse {
            err_msg,
            ..Default::default()
        })
    }

    async fn delete_volume(
        &self,
        request: Request<wire::DeleteVolumeRequest>,
    ) -> Result<Response<wire::DeleteVolumeResponse>, Status> {
        serve!(self, request, volume::whole::delete, DeleteVolumeResponse)
    }

    async fn list_volumes(
        &self,
        request: Request<wire::ListVolumesRequest>,
    ) -> Result<Response<wire::ListVolumesResponse>, Status> {
        serve!(self, request, volume::whole::list, ListVolumesResponse)
    }

    async fn list_path(
        &self,
        request: Request<wire::ListPathRequest>,
    ) -> Result<Response<wire::ListPathResponse>, Status> {
        serve!(self, request, volume::paths::list, ListPathResponse)
    }

    async fn delete_path(
        &self,
        request: Request<wire::DeletePathRequest>,
    ) -> Result<Response<wire::DeletePathResponse>, Status> {
        serve!(self, request, volume::paths::delete, DeletePathResponse)
    }

    async fn move_path(
        &self,
        request: Request<wire::MovePathRequest>,
    ) -> Result<Response<wire::MovePathResponse>, Status> {
        serve!(self, request, volume::paths::rename, MovePathResponse)
    }

    async fn stat_path(
        &self,
        request: Request<wire::StatPathRequest>,
    ) -> Result<Response<wire::StatPathResponse>, Status> {
        serve!(self, request, volume::paths::stat, StatPathResponse)
    }

    async fn copy_path_stream(
        &self,
        request: Request<Streaming<wire::CopyPathRequest>>,
    ) -> Result<Response<wire::CopyPathResponse>, Status> {
        serve!(self, request, volume::copy::copy, CopyPathResponse)
    }

    async fn get_file_service_info(
        &self,
        request: Request<wire::GetFileServiceInfoRequest>,
    ) -> Result<Response<wire::GetFileServiceInfoResponse>, Status> {
        self.shared.grpc_client(request.metadata()).await?;
        let info = wire::GetFileServiceInfoResponse {
            ok: true,
            enabled: true,
            command_version: 1,
            ..Default::default()
        };
        Ok(Response::new(info))
    }

    async fn create_presigned_url(
        &self,
        request: Request<wire::CreatePresignedUrlRequest>,
    ) -> Result<Response<wire::CreatePresignedUrlResponse>, Status> {
        serve!(self, request, volume::uploads::presign, CreatePresignedUrlResponse)
    }

    async fn create_multipart_upload(
        &self,
        request: Request<wire::CreateMultipartUploadRequest>,
    ) -> Result<Response<wire::CreateMultipartUploadResponse>, Status> {
        serve!(self, request, volume::uploads::begin, CreateMultipartUploadResponse)
    }

    async fn complete_multipart_upload(
        &self,
        request: Request<wire::CompleteMultipartUploadRequest>,
    ) -> Result<Response<wire::CompleteMultipartUploadResponse>, Status> {
        serve!(self, request, volume::uploads::complete, CompleteMultipartUploadResponse)
    }

    async fn abort_multipart_upload(
        &self,
        request: Request<wire::AbortMultipartUploadRequest>,
    ) -> Result<Response<wire::AbortMultipartUploadResponse>, Status> {
        serve!(self, request, volume::uploads::abort, AbortMultipartUploadResponse)
    }
}
