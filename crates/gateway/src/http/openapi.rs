//! GET /api/v1/openapi.json: what the routes take and answer, made from the routes themselves.
//!
//! Each route says what it takes and what it answers when all is well. What every route of its kind
//! can be refused with is added here, so that it is said once.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use bytes::Bytes;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder,
};
use utoipa::{PartialSchema, ToSchema};

use super::error::Refused;

/// What the scheme for tokens is called in the document.
const TOKEN: &str = "token";

/// One of the events of a stream.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only described here: axum writes events")]
pub(super) struct ServerSentEvent {
    /// What it is about: `status` or `log`, or `error` where nothing more comes.
    event: Option<String>,
    /// JSON: a task, or a line of a log.
    data: Option<String>,
    /// Names the line, so that a client can go on after it.
    id: Option<String>,
}

/// The document before the routes are known.
pub(super) fn base() -> OpenApi {
    let info = InfoBuilder::new()
        .title("metal9")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "What a gateway serves over HTTP besides what deployed endpoints answer themselves. \
             The client API that the SDK speaks is gRPC, on the other port.",
        ))
        .build();
    let mut document = OpenApiBuilder::new().info(info).build();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let mut components = document.components.take().unwrap_or_default();
    components.security_schemes.insert(TOKEN.to_owned(), RefOr::T(bearer));
    components.schemas.insert(Refused::name().into_owned(), Refused::schema());
    document.components = Some(components);
    document
}

/// The document's bytes, once the routes are known.
pub(super) fn finish(mut document: OpenApi) -> Bytes {
    let paths = std::mem::take(&mut document.paths.paths);
    for (path, mut item) in paths {
        for (method, operation) in [
            ("get", &mut item.get),
            ("put", &mut item.put),
            ("post", &mut item.post),
            ("delete", &mut item.delete),
        ] {
            if let Some(operation) = operation {
                operation.operation_id = Some(name(method, &path));
                refusals(operation);
            }
        }
        // What axum reads as the rest of a path has no word of its own there.
        document.paths.paths.insert(path.replace("{*", "{"), item);
    }
    Bytes::from(document.to_json().unwrap_or_default())
}

/// A name of an operation that no other has.
fn name(method: &str, path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words = words.filter(|word| !matches!(*word, "api" | "v1"));
    std::iter::once(method).chain(words).collect::<Vec<_>>().join("_")
}

/// Adds what every operation of this kind can be refused with.
fn refusals(operation: &mut Operation) {
    // A route that says nothing of it wants a token.
    let strangers = operation.security.take().is_some();
    let mut codes = vec![(400, "The request makes no sense"), (503, "The gateway cannot just now")];
    if !strangers {
        operation.security = Some(vec![SecurityRequirement::new(TOKEN, [""; 0])]);
        codes.push((401, "No token, or one that is not good any more"));
        codes.push((429, "Too many requests; `Retry-After` says when to come back"));
    }
    codes.push((403, "The token, or the address, is not good for this"));
    let in_path = |parameter: &RefOr<Parameter>| match parameter {
        RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Path,
        RefOr::Ref(_) => false,
    };
    if operation.parameters.iter().flatten().any(in_path) {
        codes.push((404, "It does not exist, or is another workspace's"));
    }
    if operation.request_body.is_some() {
        codes.push((408, "The body did not come"));
        codes.push((413, "The body is larger than it may be"));
        codes.push((415, "The body is not of this type"));
        codes.push((422, "The body does not have this shape"));
    }
    for (code, description) in codes {
        let schema = RefOr::Ref(Ref::from_schema_name(Refused::name()));
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let refusal = ResponseBuilder::new()
            .description(description)
            .content("application/json", content)
            .build();
        operation.responses.responses.entry(code.to_string()).or_insert(RefOr::T(refusal));
    }
}

/// The answer.
pub(super) fn answer(document: Bytes) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_name_and_says_how_it_refuses() {
        let (_, document) = crate::http::routes().split_for_parts();
        let document: serde_json::Value = serde_json::from_slice(&finish(document)).unwrap();
        let mut names = Vec::new();
        for item in document["paths"].as_object().unwrap().values() {
            for (_, operation) in item.as_object().unwrap() {
                names.push(operation["operationId"].as_str().unwrap().to_owned());
                assert!(operation["responses"]["400"].is_object(), "{operation}");
                let strangers = operation["security"].is_null();
                assert_eq!(strangers, operation["responses"]["401"].is_null(), "{operation}");
            }
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
        assert!(names.contains(&"get_task_workspace_task".to_owned()), "{names:?}");
    }
}
