//! The client API's service for secrets. Jobs get theirs as environment variables, and need none of it.

use metal9_proto::beta9::secret as wire;
use metal9_store::{SecretInfo, SecretRow};
use tonic::{Request, Response, Status};

use super::reply;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::{Shared, SharedRef};
use crate::timestamps::to_proto;

#[derive(Clone)]
pub(crate) struct SecretApi {
    shared: SharedRef,
}

impl SecretApi {
    pub(super) fn new(shared: SharedRef) -> Self {
        Self { shared }
    }
}

fn missing(name: &str) -> ApiError {
    ApiError::NotFound { kind: "secret", id: name.to_owned() }
}

/// `hosts` would keep a secret from other hosts, which native workers cannot enforce.
fn refuse_hosts(hosts: &[String]) -> Result<(), ApiError> {
    if hosts.is_empty() {
        return Ok(());
    }
    Err(ApiError::Invalid("secrets bound to hosts are not supported; leave `hosts` out".to_owned()))
}

async fn create(
    shared: &Shared,
    caller: &Caller,
    request: wire::CreateSecretRequest,
) -> Result<wire::CreateSecretResponse, ApiError> {
    refuse_hosts(&request.hosts)?;
    shared.disk.room_for("the secret", request.value.len() as u64)?;
    let row = shared
        .store
        .by(&caller.actor)
        .create_secret(caller.workspace, &request.name, &request.value)
        .await?;
    Ok(wire::CreateSecretResponse {
        ok: true,
        id: row.id.to_string(),
        name: row.name,
        ..Default::default()
    })
}

async fn update(
    shared: &Shared,
    caller: &Caller,
    request: wire::UpdateSecretRequest,
) -> Result<wire::UpdateSecretResponse, ApiError> {
    refuse_hosts(&request.hosts)?;
    shared.disk.room_for("the secret", request.value.len() as u64)?;
    let workspace = caller.workspace;
    if !shared
        .store
        .by(&caller.actor)
        .update_secret(workspace, &request.name, &request.value)
        .await?
    {
        return Err(missing(&request.name));
    }
    Ok(wire::UpdateSecretResponse { ok: true, err_msg: String::new() })
}

async fn delete(
    shared: &Shared,
    caller: &Caller,
    request: wire::DeleteSecretRequest,
) -> Result<wire::DeleteSecretResponse, ApiError> {
    if !shared.store.by(&caller.actor).delete_secret(caller.workspace, &request.name).await? {
        return Err(missing(&request.name));
    }
    Ok(wire::DeleteSecretResponse { ok: true, err_msg: String::new() })
}

async fn get(
    shared: &Shared,
    caller: &Caller,
    request: wire::GetSecretRequest,
) -> Result<wire::GetSecretResponse, ApiError> {
    let row = shared.store.by(&caller.actor).read_secret(caller.workspace, &request.name).await?;
    let row = row.ok_or_else(|| missing(&request.name))?;
    let secret = Some(with_value(row));
    Ok(wire::GetSecretResponse { ok: true, err_msg: String::new(), secret })
}

async fn list(shared: &Shared, caller: &Caller) -> Result<wire::ListSecretsResponse, ApiError> {
    let rows = shared.store.list_secrets(caller.workspace).await?;
    let secrets = rows.into_iter().map(without_value).collect();
    Ok(wire::ListSecretsResponse { ok: true, err_msg: String::new(), secrets })
}

fn with_value(row: SecretRow) -> wire::Secret {
    wire::Secret {
        id: row.id.to_string(),
        value: row.value,
        created_at: Some(to_proto(row.created_at)),
        updated_at: Some(to_proto(row.updated_at)),
        name: row.name,
        ..Default::default()
    }
}

fn without_value(row: SecretInfo) -> wire::Secret {
    wire::Secret {
        id: row.id.to_string(),
        created_at: Some(to_proto(row.created_at)),
        updated_at: Some(to_proto(row.updated_at)),
        name: row.name,
        ..Default::default()
    }
}

#[tonic::async_trait]
impl wire::secret_service_server::SecretService for SecretApi {
    async fn create_secret(
        &self,
        request: Request<wire::CreateSecretRequest>,
    ) -> Result<Response<wire::CreateSecretResponse>, Status> {
        let caller = self.shared.grpc_client(request.metadata()).await?;
        let result = create(&self.shared, &caller, request.into_inner()).await;
        reply(result, |err_msg| wire::CreateSecretResponse { err_msg, ..Default::default() })
    }

    async fn update_secret(
        &self,
        request: Request<wire::UpdateSecretRequest>,
    ) -> Result<Response<wire::UpdateSecretResponse>, Status> {
        let caller = self.shared.grpc_client(request.metadata()).await?;
        let result = update(&self.shared, &caller, request.into_inner()).await;
        reply(result, |err_msg| wire::UpdateSecretResponse { ok: false, err_msg })
    }

    async fn delete_secret(
        &self,
        request: Request<wire::DeleteSecretRequest>,
    ) -> Result<Response<wire::DeleteSecretResponse>, Status> {
        let caller = self.shared.grpc_client(request.metadata()).await?;
        let result = delete(&self.shared, &caller, request.into_inner()).await;
        reply(result, |err_msg| wire::DeleteSecretResponse { ok: false, err_msg })
    }

    async fn get_secret(
        &self,
        request: Request<wire::GetSecretRequest>,
    ) -> Result<Response<wire::GetSecretResponse>, Status> {
        let caller = self.shared.grpc_client(request.metadata()).await?;
        let result = get(&self.shared, &caller, request.into_inner()).await;
        reply(result, |err_msg| wire::GetSecretResponse { err_msg, ..Default::default() })
    }

    async fn list_secrets(
        &self,
        request: Request<wire::ListSecretsRequest>,
    ) -> Result<Response<wire::ListSecretsResponse>, Status> {
        let caller = self.shared.grpc_client(request.metadata()).await?;
        let result = list(&self.shared, &caller).await;
        reply(result, |err_msg| wire::ListSecretsResponse { err_msg, ..Default::default() })
    }
}
