//! The control plane: client API, HTTP API, worker sessions and the driver around the scheduler.
//!
//! - [`start`] opens the state directory, binds the ports and recovers what an earlier run left.
//! - `driver` owns the scheduler; everything else talks to it through its handle.
//! - `hub` holds what clients wait for: one entry per unfinished task.
//! - `validate` and `admission` say what is not let in, and `doors` who may come in at all.
//! - `session` is the worker's side, `grpc` the client API one RPC a file, `http` the REST routes.
//!
//! Wire types stop in this crate: the store, the scheduler and the shared types never see them.

#![forbid(unsafe_code)]

mod accept;
mod admission;
mod archives;
mod arguments;
mod audit;
mod auth;
mod builds;
mod cordon;
mod deployed;
mod disk;
mod doors;
mod driver;
mod endpoints;
mod ends;
mod error;
mod fleet;
mod floors;
mod gateway;
mod grpc;
mod http;
mod hub;
mod inflow;
mod intruders;
mod job_token;
mod joining;
mod json_call;
mod log_search;
mod macs;
mod metrics;
mod options;
mod outputs;
mod parts;
mod pools;
mod presigned;
mod rates;
mod references;
mod retention;
mod revocations;
mod roots;
mod scales;
mod schedules;
mod serves;
mod session;
mod shared;
mod signals;
mod timestamps;
mod tls;
mod unimplemented;
mod uploads;
mod validate;
mod volumes;
mod watched_body;
mod yielding;

pub use gateway::{Gateway, RunError, StartError, start};
pub use options::{Options, Tls};
