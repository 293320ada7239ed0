//! Answers every call at once and does nothing else: what a client costs by itself.
//!
//! Prints its address and ends with its standard input.

use std::io::Write;

use anyhow::Result;
use metal9_proto::beta9::function as wire;
use metal9_proto::function_server;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tonic::codegen::BoxStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// The pickle of nothing.
const RESULT: &[u8] = b"\x80\x04N.";

struct Null;

#[tonic::async_trait]
impl wire::function_service_server::FunctionService for Null {
    async fn function_invoke(
        &self,
        _request: Request<wire::FunctionInvokeRequest>,
    ) -> Result<Response<BoxStream<wire::FunctionInvokeResponse>>, Status> {
        let task_id = "00000000-0000-0000-0000-000000000000".to_owned();
        let registered =
            wire::FunctionInvokeResponse { task_id: task_id.clone(), ..Default::default() };
        let done = wire::FunctionInvokeResponse {
            task_id,
            done: true,
            result: RESULT.into(),
            ..Default::default()
        };
        Ok(Response::new(Box::pin(tokio_stream::iter([Ok(registered), Ok(done)]))))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", listener.local_addr()?)?;
    out.flush()?;
    let ended = async {
        let mut rest = Vec::new();
        // However it ends, it ends.
        let _ = tokio::io::stdin().read_to_end(&mut rest).await;
    };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = Server::builder().add_service(function_server(Null));
    Ok(server.serve_with_incoming_shutdown(incoming, ended).await?)
}
