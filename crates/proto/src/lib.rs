//! Generated gRPC code of the client API and the worker protocol, and its limits.
//!
//! The texts are in `proto/` at the top of the repository. A method that a server does not
//! override answers UNIMPLEMENTED. These types stop at the gateway and the worker: no other crate
//! keeps state in them.

#![forbid(unsafe_code)]

pub mod beta9;
mod limits;
pub mod worker;

pub use limits::{
    MAX_FRAME_BYTES, MAX_MESSAGE_BYTES, endpoint_client, endpoint_server, function_client,
    function_server, gateway_client, gateway_server, image_client, image_server, map_client,
    map_server, output_client, output_server, queue_client, queue_server, secret_client,
    secret_server, signal_client, signal_server, taskqueue_client, taskqueue_server, volume_client,
    volume_server, worker_client, worker_server,
};

/// The version of the worker protocol that this build speaks, sent in Hello and Welcome.
///
/// Raised by a change that an older peer would misread.
pub const PROTOCOL_VERSION: u32 = 2;

/// The descriptors of every file in `proto/`, encoded, as reflection services want them.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
