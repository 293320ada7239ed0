//! Serving HTTP with bounds on what a peer may take.

use axum::extract::connect_info::ConnectInfo;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use metal9_tasks::CancellationToken;

use super::{
    Door, HEADER_BYTES, HEADER_FIELDS, HEADERS, KEEPALIVE, LOCAL_RESETS, PENDING_RESETS,
    READ_AHEAD, STREAMS, WINDOWS,
};
use crate::http::Peer;

/// Serves until `shutdown`, and then until the connections that are open have been answered.
pub(crate) async fn serve(mut door: Door, router: Router, shutdown: CancellationToken) {
    let server = builder();
    let graceful = GracefulShutdown::new();
    loop {
        let (io, peer) = tokio::select! {
            () = shutdown.cancelled() => break,
            connection = door.accept() => connection,
        };
        let known = router.clone().layer(Extension(ConnectInfo(Peer(peer))));
        let service = TowerToHyperService::new(known);
        let connection = server.serve_connection_with_upgrades(TokioIo::new(io), service);
        let connection = graceful.watch(connection.into_owned());
        metal9_tasks::spawn_infallible("HTTP connection", async move {
            // Mostly peers that went away, or that said nothing.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP connection ended");
            }
        });
    }
    drop(door);
    graceful.shutdown().await;
}

fn builder() -> Builder<TokioExecutor> {
    let mut server = Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_headers(HEADER_FIELDS)
        .max_buf_size(READ_AHEAD);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE.0)
        .keep_alive_timeout(KEEPALIVE.1)
        .max_header_list_size(HEADER_BYTES)
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        // What extended CONNECT needs: WebSockets over HTTP/2.
        .enable_connect_protocol();
    server
}
