//! The client API's main service. Calls it does not name answer UNIMPLEMENTED.

use metal9_proto::beta9::gateway as wire;
use tonic::{Request, Response, Status, Streaming};

use super::attach_to_container::AttachStream;
use super::{
    attach_to_container, authorize, change_deployment, cordon_worker, create_machine,
    create_object, create_object_delta, create_pool, create_token, delete_machine, delete_pool,
    delete_token, deploy_stub, export_workspace_config, get_or_create_stub, get_pool_join_command,
    get_url, head_object, list_containers, list_deployments, list_machines, list_pool_machines,
    list_pools, list_private_pools, list_tasks, list_tokens, list_workers, put_object_stream,
    reply, sign_payload, stop_container, stop_tasks, toggle_token,
};
use crate::shared::SharedRef;

#[derive(Clone)]
pub(crate) struct GatewayApi {
    shared: SharedRef,
}

impl GatewayApi {
    pub(super) fn new(shared: SharedRef) -> Self {
        Self { shared }
    }
}

/// Serves one call: finds out who calls, does it, and says `ok = false` with the reason in `$field`
/// where it cannot be done.
macro_rules! serve {
    ($self:ident, $request:ident, $function:path, $Response:ident, $field:ident) => {{
        let caller = $self.shared.grpc_caller($request.metadata()).await?;
        let result = $function(&$self.shared, &caller, $request.into_inner()).await;
        reply(result, |text| {
            let mut refused = wire::$Response::default();
            refused.$field = text;
            refused
        })
    }};
}

#[tonic::async_trait]
impl wire::gateway_service_server::GatewayService for GatewayApi {
    async fn authorize(
        &self,
        request: Request<wire::AuthorizeRequest>,
    ) -> Result<Response<wire::AuthorizeResponse>, Status> {
        let result = authorize::authorize(&self.shared, request.metadata()).await;
        reply(result, |error_msg| wire::AuthorizeResponse { error_msg, ..Default::default() })
    }

    async fn export_workspace_config(
        &self,
        request: Request<wire::ExportWorkspaceConfigRequest>,
    ) -> Result<Response<wire::ExportWorkspaceConfigResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        Ok(Response::new(export_workspace_config::export(&self.shared, &caller)))
    }

    async fn sign_payload(
        &self,
        request: Request<wire::SignPayloadRequest>,
    ) -> Result<Response<wire::SignPayloadResponse>, Status> {
        let caller = self.shared.signing_caller(request.metadata()).await?;
        Ok(Response::new(sign_payload::sign(&self.shared, &caller, &request.into_inner())))
    }

    async fn head_object(
        &self,
        request: Request<wire::HeadObjectRequest>,
    ) -> Result<Response<wire::HeadObjectResponse>, Status> {
        serve!(self, request, head_object::head, HeadObjectResponse, error_msg)
    }

    async fn create_object(
        &self,
        request: Request<wire::CreateObjectRequest>,
    ) -> Result<Response<wire::CreateObjectResponse>, Status> {
        serve!(self, request, create_object::create, CreateObjectResponse, error_msg)
    }

    async fn complete_object_upload(
        &self,
        request: Request<wire::CompleteObjectUploadRequest>,
    ) -> Result<Response<wire::CompleteObjectUploadResponse>, Status> {
        serve!(self, request, create_object::complete, CompleteObjectUploadResponse, error_msg)
    }

    async fn create_object_delta(
        &self,
        request: Request<wire::CreateObjectDeltaRequest>,
    ) -> Result<Response<wire::CreateObjectDeltaResponse>, Status> {
        serve!(self, request, create_object_delta::create, CreateObjectDeltaResponse, error_msg)
    }

    async fn commit_object_delta(
        &self,
        request: Request<wire::CommitObjectDeltaRequest>,
    ) -> Result<Response<wire::CommitObjectDeltaResponse>, Status> {
        serve!(self, request, create_object_delta::commit, CommitObjectDeltaResponse, error_msg)
    }

    async fn put_object_stream(
        &self,
        request: Request<Streaming<wire::PutObjectRequest>>,
    ) -> Result<Response<wire::PutObjectResponse>, Status> {
        let caller = self.shared.grpc_caller(request.metadata()).await?;
        // Of `ok = false` the SDK shows only that the upload failed; of a status also why.
        Ok(Response::new(
            put_object_stream::put(&self.shared, &caller, request.into_inner()).await?,
        ))
    }

    async fn get_or_create_stub(
        &self,
        request: Request<wire::GetOrCreateStubRequest>,
    ) -> Result<Response<wire::GetOrCreateStubResponse>, Status> {
        serve!(self, request, get_or_create_stub::get_or_create, GetOrCreateStubResponse, err_msg)
    }

    async fn deploy_stub(
        &self,
        request: Request<wire::DeployStubRequest>,
    ) -> Result<Response<wire::DeployStubResponse>, Status> {
        serve!(self, request, deploy_stub::deploy, DeployStubResponse, err_msg)
    }

    async fn list_deployments(
        &self,
        request: Request<wire::ListDeploymentsRequest>,
    ) -> Result<Response<wire::ListDeploymentsResponse>, Status> {
        serve!(self, request, list_deployments::list, ListDeploymentsResponse, err_msg)
    }

    async fn start_deployment(
        &self,
        request: Request<wire::StartDeploymentRequest>,
    ) -> Result<Response<wire::StartDeploymentResponse>, Status> {
        serve!(self, request, change_deployment::start, StartDeploymentResponse, err_msg)
    }

    async fn stop_deployment(
        &self,
        request: Request<wire::StopDeploymentRequest>,
    ) -> Result<Response<wire::StopDeploymentResponse>, Status> {
        serve!(self, request, change_deployment::stop, StopDeploymentResponse, err_msg)
    }

    async fn scale_deployment(
        &self,
        request: Request<wire::ScaleDeploymentRequest>,
    ) -> Result<Response<wire::ScaleDeploymentResponse>, Status> {
        serve!(self, request, change_deployment::scale, ScaleDeploymentResponse, err_msg)
    }

    async fn delete_deployment(
        &self,
        request: Request<wire::DeleteDeploymentRequest>,
    ) -> Result<Response<wire::DeleteDeploymentResponse>, Status> {
        serve!(self, request, change_deployment::delete, DeleteDeploymentResponse, err_msg)
    }

    async fn get_url(
        &self,
        request: Request<wire::GetUrlRequest>,
    ) -> Result<Response<wire::GetUrlResponse>, Status> {
        serve!(self, request, get_url::get, GetUrlResponse, err_msg)
    }

    async fn list_tasks(
        &self,
        request: Request<wire::ListTasksRequest>,
    ) -> Result<Response<wire::ListTasksResponse>, Status> {
        serve!(self, request, list_tasks::list, ListTasksResponse, err_msg)
    }

    async fn stop_tasks(
        &self,
        request: Request<wire::StopTasksRequest>,
    ) -> Result<Response<wire::StopTasksResponse>, Status> {
        serve!(self, request, stop_tasks::stop, StopTasksResponse, err_msg)
    }

    async fn list_containers(
        &self,
        request: Request<wire::ListContainersRequest>,
    ) -> Result<Response<wire::ListContainersResponse>, Status> {
        serve!(self, request, list_containers::list, ListContainersResponse, error_msg)
    }

    async fn stop_container(
        &self,
        request: Request<wire::StopContainerRequest>,
    ) -> Result<Response<wire::StopContainerResponse>, Status> {
        serve!(self, request, stop_container::stop, StopContainerResponse, error_msg)
    }

    async fn attach_to_container(
        &self,
        request: Request<Streaming<wire::ContainerStreamMessage>>,
    ) -> Result<Response<AttachStream>, Status> {
        Ok(attach_to_container::attach(&self.shared, request).await?)
    }

    async fn list_workers(
        &self,
        request: Request<wire::ListWorkersRequest>,
    ) -> Result<Response<wire::ListWorkersResponse>, Status> {
        serve!(self, request, list_workers::list, ListWorkersResponse, err_msg)
    }

    async fn cordon_worker(
        &self,
        request: Request<wire::CordonWorkerRequest>,
    ) -> Result<Response<wire::CordonWorkerResponse>, Status> {
        serve!(self, request, cordon_worker::cordon, CordonWorkerResponse, err_msg)
    }

    async fn uncordon_worker(
        &self,
        request: Request<wire::UncordonWorkerRequest>,
    ) -> Result<Response<wire::UncordonWorkerResponse>, Status> {
        serve!(self, request, cordon_worker::uncordon, UncordonWorkerResponse, err_msg)
    }

    async fn drain_worker(
        &self,
        request: Request<wire::DrainWorkerRequest>,
    ) -> Result<Response<wire::DrainWorkerResponse>, Status> {
        serve!(self, request, cordon_worker::drain, DrainWorkerResponse, err_msg)
    }

    async fn list_pools(
        &self,
        request: Request<wire::ListPoolsRequest>,
    ) -> Result<Response<wire::ListPoolsResponse>, Status> {
        serve!(self, request, list_pools::list, ListPoolsResponse, err_msg)
    }

    async fn list_private_pools(
        &self,
        request: Request<wire::ListPrivatePoolsRequest>,
    ) -> Result<Response<wire::ListPrivatePoolsResponse>, Status> {
        serve!(self, request, list_private_pools::list, ListPrivatePoolsResponse, err_msg)
    }

    async fn list_pool_offers(
        &self,
        request: Request<wire::ListPoolOffersRequest>,
    ) -> Result<Response<wire::ListPoolOffersResponse>, Status> {
        // Offers are machines for rent; metal9 knows of none.
        self.shared.grpc_caller(request.metadata()).await?;
        Ok(Response::new(wire::ListPoolOffersResponse { ok: true, ..Default::default() }))
    }

    async fn list_machines(
        &self,
        request: Request<wire::ListMachinesRequest>,
    ) -> Result<Response<wire::ListMachinesResponse>, Status> {
        serve!(self, request, list_machines::list, ListMachinesResponse, err_msg)
    }

    async fn create_pool(
        &self,
        request: Request<wire::CreatePoolRequest>,
    ) -> Result<Response<wire::CreatePoolResponse>, Status> {
        serve!(self, request, create_pool::create, CreatePoolResponse, err_msg)
    }

    async fn delete_pool(
        &self,
        request: Request<wire::DeletePoolRequest>,
    ) -> Result<Response<wire::DeletePoolResponse>, Status> {
        serve!(self, request, delete_pool::delete, DeletePoolResponse, err_msg)
    }

    async fn get_pool_join_command(
        &self,
        request: Request<wire::GetPoolJoinCommandRequest>,
    ) -> Result<Response<wire::GetPoolJoinCommandResponse>, Status> {
        serve!(self, request, get_pool_join_command::get, GetPoolJoinCommandResponse, err_msg)
    }

    async fn list_pool_machines(
        &self,
        request: Request<wire::ListPoolMachinesRequest>,
    ) -> Result<Response<wire::ListPoolMachinesResponse>, Status> {
        serve!(self, request, list_pool_machines::list, ListPoolMachinesResponse, err_msg)
    }

    async fn create_machine(
        &self,
        request: Request<wire::CreateMachineRequest>,
    ) -> Result<Response<wire::CreateMachineResponse>, Status> {
        serve!(self, request, create_machine::create, CreateMachineResponse, err_msg)
    }

    async fn delete_machine(
        &self,
        request: Request<wire::DeleteMachineRequest>,
    ) -> Result<Response<wire::DeleteMachineResponse>, Status> {
        serve!(self, request, delete_machine::delete, DeleteMachineResponse, err_msg)
    }

    async fn list_tokens(
        &self,
        request: Request<wire::ListTokensRequest>,
    ) -> Result<Response<wire::ListTokensResponse>, Status> {
        serve!(self, request, list_tokens::list, ListTokensResponse, err_msg)
    }

    async fn create_token(
        &self,
        request: Request<wire::CreateTokenRequest>,
    ) -> Result<Response<wire::CreateTokenResponse>, Status> {
        serve!(self, request, create_token::create, CreateTokenResponse, err_msg)
    }

    async fn toggle_token(
        &self,
        request: Request<wire::ToggleTokenRequest>,
    ) -> Result<Response<wire::ToggleTokenResponse>, Status> {
        serve!(self, request, toggle_token::toggle, ToggleTokenResponse, err_msg)
    }

    async fn delete_token(
        &self,
        request: Request<wire::DeleteTokenRequest>,
    ) -> Result<Response<wire::DeleteTokenResponse>, Status> {
        serve!(self, request, delete_token::delete, DeleteTokenResponse, err_msg)
    }
}
