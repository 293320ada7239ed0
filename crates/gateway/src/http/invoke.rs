//! Calling deployed functions and task queues over HTTP: the answer is the task's id.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::routing::post;
use axum::{Extension, Json, Router};
use metal9_proto::MAX_MESSAGE_BYTES;
use metal9_store::StubRow;
use metal9_types::StubKind;
use serde_json::{Value, json};

use super::error::HttpError;
use super::{header_caller, peer};
use crate::accept::{NewCall, accept, find_stub, own_stub};
use crate::auth::{Caller, query_token};
use crate::deployed::{self, Callable};
use crate::error::ApiError;
use crate::json_call;
use crate::shared::{Shared, SharedRef};
use crate::validate::shown;

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
        Ok(Self(shared.caller(token.as_deref(), &peer(&parts.extensions)).await?))
    }
}

/// The routes of one kind of stub.
pub(super) fn routes(kind: StubKind) -> Router<SharedRef> {
    Router::new()
        .route("/{name}", post(latest))
        .route("/{name}/{version}", post(version))
        .route("/id/{stub}", post(by_id))
        .route("/public/{stub}", post(public))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE_BYTES))
        .layer(Extension(kind))
}

/// POST /{kind}/{name}: the newest version that takes calls.
async fn latest(
    State(shared): State<SharedRef>,
    WebCaller(caller): WebCaller,
    Extension(kind): Extension<StubKind>,
    Path(name): Path<String>,
    query: Parameters,
    body: Bytes,
) -> Result<Json<Value>, HttpError> {
    let stub = deployed::named(&shared, caller.workspace, kind, &name, "").await?;
    call(&shared, stub, &query, &body).await
}

/// POST /{kind}/{name}/{version}: `latest` or `vN`.
async fn version(
    State(shared): State<SharedRef>,
    WebCaller(caller): WebCaller,
    Extension(kind): Extension<StubKind>,
    Path((name, version)): Path<(String, String)>,
    query: Parameters,
    body: Bytes,
) -> Result<Json<Value>, HttpError> {
    let stub = deployed::named(&shared, caller.workspace, kind, &name, &version).await?;
    call(&shared, stub, &query, &body).await
}

/// POST /{kind}/id/{stub}.
async fn by_id(
    State(shared): State<SharedRef>,
    WebCaller(caller): WebCaller,
    Extension(kind): Extension<StubKind>,
    Path(stub): Path<String>,
    query: Parameters,
    body: Bytes,
) -> Result<Json<Value>, HttpError> {
    let stub = own_stub(&shared, &caller, &stub).await?;
    of_kind(&stub, kind)?;
    call(&shared, Callable::of(&shared, stub).await?, &query, &body).await
}

/// POST /{kind}/public/{stub}: for stubs that everybody may call.
async fn public(
    State(shared): State<SharedRef>,
    Extension(kind): Extension<StubKind>,
    Path(stub): Path<String>,
    query: Parameters,
    body: Bytes,
) -> Result<Json<Value>, HttpError> {
    let stub = public_stub(&shared, kind, &stub).await?;
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
) -> Result<Json<Value>, HttpError> {
    let arguments = json_call::arguments(body, query)?;
    let call = NewCall { stub, arguments, headless: true, request_id: None };
    let task = accept(shared, call).await?.task();
    Ok(Json(json!({ "task_id": task.to_string() })))
}
