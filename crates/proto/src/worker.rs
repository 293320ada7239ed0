//! Package `metal9.worker.v1`: what a worker and the gateway say to each other.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    reason = "generated code; the documentation is in the .proto text"
)]

tonic::include_proto!("metal9.worker.v1");
