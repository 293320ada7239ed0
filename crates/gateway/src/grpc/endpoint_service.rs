//! The client API's service for endpoints.

use metal9_proto::beta9::endpoint as wire;
use tonic::{Request, Response, Status};

use super::{reply, start_serve};
use crate::shared::SharedRef;

#[derive(Clone)]
pub(crate) struct EndpointApi {
    shared: SharedRef,
}

impl EndpointApi {
    pub(super) fn new(shared: SharedRef) -> Self {
        Self { shared }
    }
}

#[tonic::async_trait]
impl wire::endpoint_service_server::EndpointService for EndpointApi {
    async fn start_endpoint_serve(
        &self,
        request: Request<wire::StartEndpointServeRequest>,
    ) -> Result<Response<wire::StartEndpointServeResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        let wire::StartEndpointServeRequest { stub_id, timeout } = request.into_inner();
        let started = start_serve::endpoint(&self.shared, &caller, &stub_id, timeout).await;
        let started = started.map(|container_id| wire::StartEndpointServeResponse {
            ok: true,
            container_id,
            ..Default::default()
        });
        reply(started, |error_msg| wire::StartEndpointServeResponse {
            error_msg,
            ..Default::default()
        })
    }
}
