//! The client API's service for task queues.
//!
//! What is in a queue is a task like any other, which the scheduler gives to a container, so containers
//! never ask for work.

use metal9_proto::beta9::taskqueue as wire;
use metal9_types::StubKind;
use tonic::{Request, Response, Status};

use super::{reply, start_serve};
use crate::accept::{NewCall, accept, own_stub};
use crate::auth::Caller;
use crate::deployed::Callable;
use crate::error::ApiError;
use crate::json_call;
use crate::shared::SharedRef;

#[derive(Clone)]
pub(crate) struct TaskqueueApi {
    shared: SharedRef,
}

impl TaskqueueApi {
    pub(super) fn new(shared: SharedRef) -> Self {
        Self { shared }
    }
}

async fn put(
    shared: &SharedRef,
    caller: &Caller,
    request: wire::TaskQueuePutRequest,
) -> Result<wire::TaskQueuePutResponse, ApiError> {
    let stub = own_stub(shared, caller, &request.stub_id).await?;
    if stub.config.kind != StubKind::Taskqueue {
        return Err(ApiError::Invalid(format!("stub `{}` is no task queue", stub.id)));
    }
    let arguments = json_call::arguments(&request.payload, &[])?;
    let stub = Callable::of(shared, stub).await?;
    let call = NewCall { stub, arguments, headless: true, request_id: None };
    let task_id = accept(shared, call).await?.task().to_string();
    Ok(wire::TaskQueuePutResponse { ok: true, task_id })
}

#[tonic::async_trait]
impl wire::task_queue_service_server::TaskQueueService for TaskqueueApi {
    async fn task_queue_put(
        &self,
        request: Request<wire::TaskQueuePutRequest>,
    ) -> Result<Response<wire::TaskQueuePutResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        // Of `ok = false` the SDK shows only that it failed; of a status also why.
        Ok(Response::new(put(&self.shared, &caller, request.into_inner()).await?))
    }

    async fn start_task_queue_serve(
        &self,
        request: Request<wire::StartTaskQueueServeRequest>,
    ) -> Result<Response<wire::StartTaskQueueServeResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        let wire::StartTaskQueueServeRequest { stub_id, timeout } = request.into_inner();
        let started = start_serve::task_queue(&self.shared, &caller, &stub_id, timeout).await;
        let started = started.map(|container_id| wire::StartTaskQueueServeResponse {
            ok: true,
            container_id,
            ..Default::default()
        });
        reply(started, |error_msg| wire::StartTaskQueueServeResponse {
            error_msg,
            ..Default::default()
        })
    }

    async fn task_queue_length(
        &self,
        request: Request<wire::TaskQueueLengthRequest>,
    ) -> Result<Response<wire::TaskQueueLengthResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        let request = request.into_inner();
        let length = async {
            let stub = own_stub(&self.shared, &caller, &request.stub_id).await?.id;
            let calls = self.shared.driver.query(move |core, _| core.calls_of(stub)).await?;
            let calls = calls.max(self.shared.endpoints.requests_of(stub));
            let length = i64::try_from(calls).unwrap_or(i64::MAX);
            Ok(wire::TaskQueueLengthResponse { ok: true, length })
        };
        reply(length.await, |_| wire::TaskQueueLengthResponse::default())
    }
}
