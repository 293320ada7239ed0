//! The client API: one RPC a file.
//!
//! Business failures are not gRPC errors here: the client API answers with `ok = false` and a text.
//! [`reply`] does that for every call; only authentication, limits and the gateway's own failures
//! are statuses.

mod attach_to_container;
mod authorize;
mod build_image;
mod change_deployment;
mod changes;
mod cordon_worker;
mod create_machine;
mod create_object;
mod create_object_delta;
mod create_pool;
mod create_token;
mod delete_machine;
mod delete_pool;
mod delete_token;
mod deploy_stub;
mod endpoint_service;
mod export_workspace_config;
mod filters;
mod function_invoke;
mod function_schedule;
mod function_service;
mod gateway_service;
mod get_or_create_stub;
mod get_pool_join_command;
mod get_url;
mod head_object;
mod image_service;
mod image_spec;
mod list_containers;
mod list_deployments;
mod list_machines;
mod list_pool_machines;
mod list_pools;
mod list_private_pools;
mod list_tasks;
mod list_tokens;
mod list_workers;
mod map_service;
mod output_service;
mod pieces;
mod put_object_stream;
mod queue_service;
mod secret_service;
mod server;
mod sign_payload;
mod signal_service;
mod start_serve;
mod stop_container;
mod stop_tasks;
mod tail;
mod taskqueue_service;
mod toggle_token;
mod verify_image_build;
mod volume;
mod volume_service;

pub(crate) use server::serve;

use metal9_types::Tier;
use tonic::{Response, Status};

use crate::error::ApiError;

/// Turns what a call came to into an answer: a failure that is the caller's doing becomes a
/// message made by `refusal`, any other a status.
fn reply<T>(
    result: Result<T, ApiError>,
    refusal: impl FnOnce(String) -> T,
) -> Result<Response<T>, Status> {
    match result {
        Ok(answer) => Ok(Response::new(answer)),
        Err(
            error @ (ApiError::NotFound { .. }
            | ApiError::Invalid(_)
            | ApiError::Conflict(_)
            | ApiError::Forbidden(_)),
        ) => Ok(Response::new(refusal(error.to_string()))),
        Err(ApiError::Store(error)) if error.tier() != Tier::Platform => {
            Ok(Response::new(refusal(ApiError::Store(error).to_string())))
        }
        Err(error) => Err(error.into()),
    }
}
