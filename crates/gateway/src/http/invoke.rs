//! Calling deployed functions and task queues over HTTP: the answer is the task's id.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::routing::post;
use axum::{Extension, Json};
use metal9_proto::MAX_MESSAGE_BYTES;
use metal9_store::StubRow;
use metal9_types::StubKind;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::HttpError;
use super::{header_caller, peer};
use crate::accept::{NewCall, accept, find_stub, own_stub};
use crate::auth::{Caller, query_token};
use crate::deployed::{self, Callable};
use crate::error::ApiError;
use crate::json_call;
use crate::shared::{Shared, SharedRef};
use crate::validate::{refuse, shown};

/// What stands in the query string.
type Parameters = Query<Vec<(String, String)>>;

/// Who calls: by a token in a header, or in the query string where there can be no header.
pub(super) struct WebCaller(Caller);

impl FromRequestParts<SharedRef> for WebCaller {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, shared: &SharedRef) -> Result<Self, HttpError> {
        if parts.headers.contains_key("authorization") {
            return Ok(Self(header_caller(parts, shared).await?));
        }
        let token = query_token(&parts.uri);
        Ok(Self(shared.counted_caller(token.as_deref(), &peer(&parts.extensions)).await?))
    }
}

/// The routes of one kind of stub.
pub(super) fn routes(kind: StubKind) -> OpenApiRouter<SharedRef> {
    OpenApiRouter::new()
        .routes(routes!(latest))
        .routes(routes!(version))
        .routes(routes!(by_id))
        .routes(routes!(public))
        .route("/{name}/", post(latest))
        .route("/{name}/{version}/", post(version))
        .route("/id/{stub}/", post(by_id))
        .route("/public/{stub}/", post(public))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE_BYTES))
        .layer(Extension(kind))
}

/// A call that was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AcceptedCall {
    /// The id of its task.
    task_id: String,
}

/// Calls a deployment's newest version that takes calls. The body is JSON: an object of keyword
/// arguments, or `{"args": […], "kwargs": {…}}`.
#[utoipa::path(post, path = "/{name}", tag = "calls",
    params(("name" = String, Path, description = "The deployment's name")),
    request_body = Option<HashMap<String, Value>>, responses((status = 200, body = AcceptedCall)))]
async fn latest(
    State(shared): State<SharedRef>,
    WebCaller(caller): WebCaller,
    Extension(kind): Extension<StubKind>,
    Path(name): Path<String>,
    query: Parameters,
    body: Bytes,
) -> Result<Json<AcceptedCall>, HttpError> {
    let stub = deployed::named(&shared, caller.workspace, kind, &name, "").await?;
    call(&shared, stub, &query, &body).await
}

/// Calls a version of a deployment.
#[utoipa::path(post, path = "/{name}/{version}", tag = "calls",
    params(("name" = String, Path, description = "The deployment's name"),
        ("version" = String, Path, description = "`latest` or `vN`")),
    request_body = Option<HashMap<String, Value>>, responses((status = 200, body = AcceptedCall)))]
async fn version(
    State(shared): State<SharedRef>,
    WebCaller(caller): WebCaller,
    Extension(kind): Extension<StubKind>,
    Path((name, version)): Path<(String, String)>,
    query: Parameters,
    body: Bytes,
) -> Result<Json<AcceptedCall>, HttpError> {
    if version == "warmup" {
        let what = "only what serves requests is warmed up by one";
        let hint = "a container is started by the first call; `min_containers` keeps some ready";
        return Err(refuse(what, hint).into());
    }
    let stub = deployed::named(&shared, caller.workspace, kind, &name, &version).await?;
    call(&shared, stub, &query, &body).await
}

/// Calls a stub.
#[utoipa::path(post, path = "/id/{stub}", tag = "calls",
    params(("stub" = String, Path, description = "The stub's id")),
    request_body = Option<HashMap<String, Value>>, responses((status = 200, body = AcceptedCall)))]
async fn by_id(
    State(shared): State<SharedRef>,
    WebCaller(caller): WebCaller,
    Extension(kind): Extension<StubKind>,
    Path(stub): Path<String>,
    query: Parameters,
    body: Bytes,
) -> Result<Json<AcceptedCall>, HttpError> {
    let stub = own_stub(&shared, &caller, &stub).await?;
    of_kind(&stub, kind)?;
    call(&shared, Callable::of(&shared, stub).await?, &query, &body).await
}

/// Calls a stub that everybody may call.
#[utoipa::path(post, path = "/public/{stub}", tag = "calls", security(()),
    params(("stub" = String, Path, description = "The stub's id")),
    request_body = Option<HashMap<String, Value>>, responses((status = 200, body = AcceptedCall)))]
async fn public(
    State(shared): State<SharedRef>,
    Extension(kind): Extension<StubKind>,
    Path(stub): Path<String>,
    query: Parameters,
    body: Bytes,
) -> Result<Json<AcceptedCall>, HttpError> {
    let stub = public_stub(&shared, kind, &stub).await?;
    shared.rates.admit(stub.workspace)?;
    call(&shared, Callable::of(&shared, stub).await?, &query, &body).await
}

/// A stub that needs no token; one that does is not there.
async fn public_stub(shared: &Shared, kind: StubKind, id: &str) -> Result<Arc<StubRow>, ApiError> {
    let missing = || ApiError::NotFound { kind: "public stub", id: shown(id) };
    let stub = find_stub(shared, id).await?.ok_or_else(missing)?;
    of_kind(&stub, kind)?;
    if stub.config.serving.authorized { Err(missing()) } else { Ok(stub) }
}

fn of_kind(stub: &StubRow, kind: StubKind) -> Result<(), ApiError> {
    if stub.config.kind == kind {
        return Ok(());
    }
    Err(ApiError::NotFound { kind: "stub", id: stub.id.to_string() })
}

async fn call(
    shared: &SharedRef,
    stub: Callable,
    Query(query): &Parameters,
    body: &[u8],
) -> Result<Json<AcceptedCall>, HttpError> {
    let arguments = json_call::arguments(body, query)?;
    let call = NewCall { stub, arguments, headless: true, request_id: None };
    let task = accept(shared, call).await?.task();
    Ok(Json(AcceptedCall { task_id: task.to_string() }))
}
