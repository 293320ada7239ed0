//! The two ports: who may come in, and what an unknown peer may cost before it is known.
//!
//! All settings of the HTTP servers that bound a peer are here.

mod files;
mod gate;
mod guard;
mod http;
mod large;

use std::time::Duration;

use tonic::transport::Server;

pub(crate) use files::raise_limit;
pub(crate) use gate::GateLayer;
pub(crate) use guard::{Door, Proof};
pub(crate) use http::serve as serve_http;

/// How long a new connection may take to show that it speaks the protocol.
pub(crate) const GREETING: Duration = Duration::from_secs(10);
/// How long a peer may take for a request's headers over HTTP/1, and how long such a connection may
/// stay without a request.
pub(crate) const HEADERS: Duration = Duration::from_secs(30);
/// How often an idle connection is probed, and how long the answer may take; the SDK has no
/// keepalive of its own.
pub(crate) const KEEPALIVE: (Duration, Duration) =
    (Duration::from_secs(20), Duration::from_secs(10));
/// Bytes of one request's headers.
pub(crate) const HEADER_BYTES: u32 = 32 * 1024;
/// Header fields of one request over HTTP/1.
pub(crate) const HEADER_FIELDS: usize = 100;
/// Bytes that HTTP/1 reads ahead.
pub(crate) const READ_AHEAD: usize = 64 * 1024;
/// Streams of one connection at a time. The SDK opens all its calls on one.
pub(crate) const STREAMS: u32 = 20_000;
/// Streams that a peer may open and drop before they are looked at; more end the connection.
pub(crate) const PENDING_RESETS: usize = 256;
/// Streams that this side may reset because of a peer's mistakes; more end the connection.
pub(crate) const LOCAL_RESETS: usize = 1024;
/// Bytes that a peer may send on one stream, and on one connection, before somebody reads.
pub(crate) const WINDOWS: (u32, u32) = (1024 * 1024, 8 * 1024 * 1024);

/// The gRPC server with these settings.
pub(crate) fn grpc_server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .http2_max_header_list_size(HEADER_BYTES)
        .max_concurrent_streams(STREAMS)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS))
        .http2_max_local_error_reset_streams(Some(LOCAL_RESETS))
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
}
