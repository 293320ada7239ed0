//! Asking a gateway: gRPC for lists and tokens, HTTP for the rest.

pub(crate) mod http;

use std::time::Duration;

use anyhow::anyhow;
use metal9_proto::beta9::gateway::ExportWorkspaceConfigRequest;
use metal9_proto::beta9::gateway::gateway_service_client::GatewayServiceClient;
use metal9_tls::{Address, ConnectError, Connector, Protocol, TlsError};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::connection::{Arguments, Connection};
use crate::failure::Failure;
use http::Http;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// The gateway's main service, with the caller's token on every call.
pub(crate) type GatewayClient = GatewayServiceClient<InterceptedService<Channel, Bearer>>;

/// Adds the token to a call.
#[derive(Clone)]
pub(crate) struct Bearer {
    header: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.header {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}

/// Connects to the gateway that the user means.
///
/// # Errors
///
/// If none is configured, or it cannot be reached.
pub(crate) async fn gateway(arguments: &Arguments) -> Result<GatewayClient, Failure> {
    connect(&Connection::find(arguments)?).await
}

/// The HTTP side of the gateway that the user means.
///
/// # Errors
///
/// If none is configured, or it does not say where its HTTP is.
pub(crate) async fn http(arguments: &Arguments) -> Result<Http, Failure> {
    let connection = Connection::find(arguments)?;
    let base = match &connection.http {
        Some(base) => base.clone(),
        None => ask_for_http(&connection).await?,
    };
    let trust = connection.trust()?;
    Http::new(base, connection.token, trust.as_ref())
}

/// The gateway's own word on where its HTTP is.
async fn ask_for_http(connection: &Connection) -> Result<String, Failure> {
    let mut client = connect(connection).await?;
    let answer = client.export_workspace_config(ExportWorkspaceConfigRequest {}).await;
    let config = answer.map_err(|status| failed("cannot ask where HTTP is served", &status))?;
    let config = config.into_inner();
    let scheme = if config.gateway_http_tls { "https" } else { "http" };
    Ok(format!("{scheme}://{}:{}", config.gateway_http_host, config.gateway_http_port))
}

async fn connect(connection: &Connection) -> Result<GatewayClient, Failure> {
    let Some(address) = &connection.grpc else {
        let error = anyhow!("the gateway's gRPC address is not configured");
        return Err(Failure::usage(error).hint("name it with --gateway HOST:PORT"));
    };
    let header = connection.token.as_ref().map(|token| format!("Bearer {token}").parse());
    let header = header.transpose().map_err(|_| {
        Failure::usage(anyhow!("the token has characters that a token cannot have"))
    })?;
    let parsed: Address = address.parse().map_err(Failure::usage)?;
    let endpoint = Endpoint::from_shared(format!("http://{}", parsed.authority()));
    let endpoint = endpoint.map_err(|error| {
        Failure::usage(anyhow!(error).context(format!("`{address}` is no gateway address")))
    })?;
    let trust = connection.trust()?;
    let connector = Connector::new(parsed, trust.as_ref(), Protocol::Http2).map_err(no_tls)?;
    let endpoint = endpoint.connect_timeout(CONNECT_LIMIT).timeout(ANSWER_LIMIT);
    let channel = endpoint.connect_with_connector(connector).await;
    let channel = channel.map_err(|error| {
        let hint = ConnectError::find(&error).and_then(ConnectError::hint);
        let failure = unreachable(address, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    let service = InterceptedService::new(channel, Bearer { header });
    Ok(metal9_proto::gateway_client(service))
}

/// TLS is wanted and cannot be had.
fn no_tls(error: TlsError) -> Failure {
    let hint = error.hint();
    let failure = Failure::usage(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn unreachable(address: &str, error: impl Into<anyhow::Error>) -> Failure {
    let failure = Failure::request(error.into());
    failure
        .context(format!("cannot reach the gateway at {address}"))
        .hint("is it running? `metal9 dev` starts one on this machine")
}

/// A call that the gateway refused.
pub(crate) fn failed(what: impl Into<String>, status: &Status) -> Failure {
    let failure = Failure::request(anyhow!("{}", reason(status))).context(what.into());
    match status.code() {
        Code::Unauthenticated => failure.hint(TOKEN_HINT),
        Code::Unimplemented => failure.hint("the gateway is of another version than this program"),
        _ => failure,
    }
}

const TOKEN_HINT: &str = "the gateway does not know the token; give one with --token or \
                          $METAL9_TOKEN, or check $CONFIG_PATH";

fn reason(status: &Status) -> String {
    match status.message() {
        "" => status.code().description().to_owned(),
        message => message.to_owned(),
    }
}

/// The answer of a call that says `ok` or why not.
///
/// # Errors
///
/// If it does not say `ok`.
pub(crate) fn accepted(what: &str, ok: bool, message: &str) -> Result<(), Failure> {
    if ok {
        return Ok(());
    }
    Err(Failure::request(anyhow!("{message}")).context(what.to_owned()))
}
