//! The client API's service for calling functions.

use metal9_proto::beta9::function as wire;
use tonic::{Request, Response, Status};

use super::function_invoke::{InvokeStream, invoke};
use super::function_schedule::schedule;
use super::reply;
use crate::shared::SharedRef;

#[derive(Clone)]
pub(crate) struct FunctionApi {
    shared: SharedRef,
}

impl FunctionApi {
    pub(super) fn new(shared: SharedRef) -> Self {
        Self { shared }
    }
}

#[tonic::async_trait]
impl wire::function_service_server::FunctionService for FunctionApi {
    async fn function_invoke(
        &self,
        request: Request<wire::FunctionInvokeRequest>,
    ) -> Result<Response<InvokeStream>, Status> {
        Ok(invoke(&self.shared, request).await?)
    }

    async fn function_schedule(
        &self,
        request: Request<wire::FunctionScheduleRequest>,
    ) -> Result<Response<wire::FunctionScheduleResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        let result = schedule(&self.shared, &caller, request.into_inner()).await;
        reply(result, |err_msg| wire::FunctionScheduleResponse { err_msg, ..Default::default() })
    }
}
