//! ExportWorkspaceConfig: where this gateway is reached.

use metal9_proto::beta9::gateway::ExportWorkspaceConfigResponse;

use crate::auth::Caller;
use crate::shared::Shared;

/// Tells hosts and ports.
pub(super) fn export(shared: &Shared, caller: &Caller) -> ExportWorkspaceConfigResponse {
    let host = shared.advertised_host();
    let tls = shared.certificates.is_some();
    ExportWorkspaceConfigResponse {
        gateway_http_host: host.clone(),
        gateway_http_port: i32::from(shared.http_addr.port()),
        gateway_http_tls: tls,
        gateway_grpc_host: host,
        gateway_grpc_port: i32::from(shared.grpc_addr.port()),
        gateway_grpc_tls: tls,
        workspace_id: caller.workspace.to_string(),
        ..Default::default()
    }
}
