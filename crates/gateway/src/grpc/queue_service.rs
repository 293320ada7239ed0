//! The client API's service for queues. Jobs use it with their own token, as programs do.
//!
//! Its answers have no place for a reason, so what cannot be done is a status.

use metal9_proto::beta9::simplequeue as wire;
use tonic::{Request, Response, Status};

use crate::error::ApiError;
use crate::shared::SharedRef;

#[derive(Clone)]
pub(crate) struct QueueApi {
    shared: SharedRef,
}

impl QueueApi {
    pub(super) fn new(shared: SharedRef) -> Self {
        Self { shared }
    }
}

#[tonic::async_trait]
impl wire::simple_queue_service_server::SimpleQueueService for QueueApi {
    async fn simple_queue_put(
        &self,
        request: Request<wire::SimpleQueuePutRequest>,
    ) -> Result<Response<wire::SimpleQueuePutResponse>, Status> {
        let shared = &self.shared;
        let caller = shared.grpc_caller(request.metadata()).await?;
        let wire::SimpleQueuePutRequest { name, value } = request.into_inner();
        shared.disk.room_for("the item", value.len() as u64)?;
        let quota = shared.options.value_quota();
        let put = shared.store.queue_put(caller.workspace, &name, value, quota).await;
        put.map_err(ApiError::from)?;
        Ok(Response::new(wire::SimpleQueuePutResponse { ok: true }))
    }

    async fn simple_queue_pop(
        &self,
        request: Request<wire::SimpleQueuePopRequest>,
    ) -> Result<Response<wire::SimpleQueuePopResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        let name = request.into_inner().name;
        let value = self.shared.store.queue_pop(caller.workspace, &name).await;
        let value = value.map_err(ApiError::from)?.unwrap_or_default();
        Ok(Response::new(wire::SimpleQueuePopResponse { ok: true, value }))
    }

    async fn simple_queue_peek(
        &self,
        request: Request<wire::SimpleQueueRequest>,
    ) -> Result<Response<wire::SimpleQueuePeekResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        let name = request.into_inner().name;
        let value = self.shared.store.queue_peek(caller.workspace, &name).await;
        let value = value.map_err(ApiError::from)?.unwrap_or_default();
        Ok(Response::new(wire::SimpleQueuePeekResponse { ok: true, value }))
    }

    async fn simple_queue_empty(
        &self,
        request: Request<wire::SimpleQueueRequest>,
    ) -> Result<Response<wire::SimpleQueueEmptyResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        let name = request.into_inner().name;
        let empty = self.shared.store.queue_is_empty(caller.workspace, &name).await;
        let empty = empty.map_err(ApiError::from)?;
        Ok(Response::new(wire::SimpleQueueEmptyResponse { ok: true, empty }))
    }

    async fn simple_queue_size(
        &self,
        request: Request<wire::SimpleQueueRequest>,
    ) -> Result<Response<wire::SimpleQueueSizeResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        let name = request.into_inner().name;
        let size = self.shared.store.queue_size(caller.workspace, &name).await;
        let size = size.map_err(ApiError::from)?;
        Ok(Response::new(wire::SimpleQueueSizeResponse { ok: true, size }))
    }
}
