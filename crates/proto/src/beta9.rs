//! The client API, one module per package.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    rustdoc::all,
    clippy::all,
    reason = "generated code; the documentation is in the .proto text"
)]

/// Bots: state machines whose transitions are jobs (experimental in the SDK).
pub mod bot {
    tonic::include_proto!("bot");
}

/// Durable disks that pods mount.
pub mod disk {
    tonic::include_proto!("disk");
}

/// HTTP endpoints while they are being developed.
pub mod endpoint {
    tonic::include_proto!("endpoint");
}

/// Calling functions.
pub mod function {
    tonic::include_proto!("function");
}

/// Everything that has no package of its own: login, code archives, stubs, deployments, tasks,
pub mod gateway {
    tonic::include_proto!("gateway");
}

/// Environments that jobs run in.
pub mod image {
    tonic::include_proto!("image");
}

/// Model servers whose replicas the gateway manages.
pub mod managedendpoint {
    tonic::include_proto!("managedendpoint");
}

/// A shared map of pickled values.
pub mod map {
    tonic::include_proto!("map");
}

/// Files a job leaves behind.
pub mod output {
    tonic::include_proto!("output");
}

/// Pods and sandboxes: containers that a client drives from outside.
pub mod pod {
    tonic::include_proto!("pod");
}

/// Secrets of a workspace.
pub mod secret {
    tonic::include_proto!("secret");
}

/// Interactive shells in containers.
pub mod shell {
    tonic::include_proto!("shell");
}

/// Flags that one job raises and another waits for (experimental in the SDK).
pub mod signal {
    tonic::include_proto!("signal");
}

/// A shared queue of pickled values.
pub mod simplequeue {
    tonic::include_proto!("simplequeue");
}

/// Task queues: calls that nobody waits for.
pub mod taskqueue {
    tonic::include_proto!("taskqueue");
}

/// Messages that several packages use.
pub mod types {
    tonic::include_proto!("types");
}

/// Shared directories that jobs mount.
pub mod volume {
    tonic::include_proto!("volume");
}
