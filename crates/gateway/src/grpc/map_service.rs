//! The client API's service for maps. Jobs use it with their own token, as programs do.

use metal9_proto::beta9::map as wire;
use tonic::{Request, Response, Status};

use super::reply;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::{Shared, SharedRef};

#[derive(Clone)]
pub(crate) struct MapApi {
    shared: SharedRef,
}

impl MapApi {
    pub(super) fn new(shared: SharedRef) -> Self {
        Self { shared }
    }
}

async fn set(
    shared: &Shared,
    caller: &Caller,
    request: wire::MapSetRequest,
) -> Result<wire::MapSetResponse, ApiError> {
    shared.disk.room_for("the value", request.value.len() as u64)?;
    let wire::MapSetRequest { name, key, value, ttl } = request;
    let quota = shared.options.value_quota();
    shared.store.map_set(caller.workspace, &name, &key, value, ttl, quota).await?;
    Ok(wire::MapSetResponse { ok: true, err_msg: String::new() })
}

#[tonic::async_trait]
impl wire::map_service_server::MapService for MapApi {
    async fn map_set(
        &self,
        request: Request<wire::MapSetRequest>,
    ) -> Result<Response<wire::MapSetResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        let result = set(&self.shared, &caller, request.into_inner()).await;
        reply(result, |err_msg| wire::MapSetResponse { ok: false, err_msg })
    }

    // The answers below have no place for a reason, so what cannot be done is a status: `ok = false`
    // means that there is nothing.

    async fn map_get(
        &self,
        request: Request<wire::MapGetRequest>,
    ) -> Result<Response<wire::MapGetResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        let wire::MapGetRequest { name, key } = request.into_inner();
        let value = self.shared.store.map_get(caller.workspace, &name, &key).await;
        let value = value.map_err(ApiError::from)?;
        let ok = value.is_some();
        Ok(Response::new(wire::MapGetResponse { ok, value: value.unwrap_or_default() }))
    }

    async fn map_delete(
        &self,
        request: Request<wire::MapDeleteRequest>,
    ) -> Result<Response<wire::MapDeleteResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        let wire::MapDeleteRequest { name, key } = request.into_inner();
        let deleted = self.shared.store.map_delete(caller.workspace, &name, &key).await;
        Ok(Response::new(wire::MapDeleteResponse { ok: deleted.map_err(ApiError::from)? }))
    }

    async fn map_count(
        &self,
        request: Request<wire::MapCountRequest>,
    ) -> Result<Response<wire::MapCountResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        let name = request.into_inner().name;
        let count = self.shared.store.map_count(caller.workspace, &name).await;
        let count = u32::try_from(count.map_err(ApiError::from)?).unwrap_or(u32::MAX);
        Ok(Response::new(wire::MapCountResponse { ok: true, count }))
    }

    async fn map_keys(
        &self,
        request: Request<wire::MapKeysRequest>,
    ) -> Result<Response<wire::MapKeysResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        let name = request.into_inner().name;
        let keys = self.shared.store.map_keys(caller.workspace, &name).await;
        Ok(Response::new(wire::MapKeysResponse { ok: true, keys: keys.map_err(ApiError::from)? }))
    }
}
