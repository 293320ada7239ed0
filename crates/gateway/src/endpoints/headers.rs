//! Which headers go on, and which are between two neighbours only.

use axum::http::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::uri::{PathAndQuery, Uri};
use metal9_types::{StubId, TaskId};

use crate::auth::TOKEN_PARAMETER;

/// The task of a request, in its headers and in those of its answer.
pub(super) const TASK_ID: HeaderName = HeaderName::from_static("x-task-id");
/// The stub that answered.
const STUB_ID: HeaderName = HeaderName::from_static("x-beta9-stub-id");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Headers between the gateway and the runner begin like this; nobody else sends them.
const OWN: &str = "x-metal9-";

/// What the container is told of where a request came from.
#[derive(Debug)]
pub(super) struct Origin<'a> {
    pub(super) task: TaskId,
    /// The client's address.
    pub(super) peer: &'a str,
    pub(super) tls: bool,
    /// The token was for the gateway, and is not for the container.
    pub(super) token_used: bool,
}

/// Makes the head of a client's request that of the request to the container: what is for the next
/// hop only goes, unless the request wants another protocol.
pub(super) fn request(parts: &mut Parts, path: &str, origin: &Origin<'_>, upgrades: bool) {
    let host = host(parts);
    parts.uri = target(&parts.uri, path, origin.token_used);
    parts.version = axum::http::Version::HTTP_11;
    let upgrade = parts.headers.get(UPGRADE).cloned().filter(|_| upgrades);
    let headers = &mut parts.headers;
    remove_hop_by_hop(headers);
    let own: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(OWN)).cloned().collect();
    for name in own {
        headers.remove(name);
    }
    if origin.token_used {
        headers.remove(AUTHORIZATION);
    }
    if let Some(upgrade) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, upgrade);
    }
    insert(headers, TASK_ID, &origin.task.to_string());
    insert(headers, FORWARDED_FOR, origin.peer);
    insert(headers, FORWARDED_PROTO, if origin.tls { "https" } else { "http" });
    if let Some(host) = host {
        headers.insert(FORWARDED_HOST, host.clone());
        headers.insert(HOST, host);
    }
}

/// The host that the client asked, which HTTP/2 has in another place.
fn host(parts: &Parts) -> Option<HeaderValue> {
    let authority = || HeaderValue::from_str(parts.uri.authority()?.as_str()).ok();
    parts.headers.get(HOST).cloned().or_else(authority)
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Path and query in the container. The query stays as it is, but for the token.
fn target(uri: &Uri, path: &str, token_used: bool) -> Uri {
    let path = if path.is_empty() { "/" } else { path };
    let query = uri.query().map(|query| match token_used {
        true => without_token(query),
        false => query.to_owned(),
    });
    let text = match query {
        Some(query) if !query.is_empty() => format!("{path}?{query}"),
        _ => path.to_owned(),
    };
    PathAndQuery::try_from(text).map_or_else(|_| Uri::from_static("/"), Uri::from)
}

fn without_token(query: &str) -> String {
    let others = query.split('&').filter(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        name != TOKEN_PARAMETER
    });
    others.collect::<Vec<_>>().join("&")
}

/// Makes the head of the container's answer that of the answer to the client.
pub(super) fn answer(headers: &mut HeaderMap, task: TaskId, stub: StubId, upgrades: bool) {
    let upgrade = headers.get(UPGRADE).cloned().filter(|_| upgrades);
    remove_hop_by_hop(headers);
    if let Some(upgrade) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, upgrade);
    }
    mark(headers, task, stub);
}

/// Says which task and stub an answer is of.
pub(super) fn mark(headers: &mut HeaderMap, task: TaskId, stub: StubId) {
    mark_stub(headers, stub);
    insert(headers, TASK_ID, &task.to_string());
}

/// Says which stub has answered to what is no task.
pub(super) fn mark_stub(headers: &mut HeaderMap, stub: StubId) {
    headers.remove(TASK_ID);
    insert(headers, STUB_ID, &stub.to_string());
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let fixed = [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    for name in named.into_iter().chain(fixed) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use uuid::Uuid;

    use super::*;

    fn origin(token_used: bool) -> Origin<'static> {
        Origin { task: TaskId(Uuid::from_u128(7)), peer: "10.0.0.9", tls: true, token_used }
    }

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn what_is_for_the_gateway_or_the_next_hop_does_not_go_on() {
        let mut parts = parts(
            "/asgi/id/x/a%2Fb?q=1&auth_token=secret&q=2",
            &[
                ("host", "gateway:1994"),
                ("authorization", "Bearer secret"),
                ("connection", "keep-alive, x-mine"),
                ("x-mine", "1"),
                ("x-metal9-probe", "1"),
                ("x-forwarded-for", "forged"),
                ("cookie", "a=b"),
                ("transfer-encoding", "chunked"),
            ],
        );
        request(&mut parts, "/a%2Fb", &origin(true), false);
        assert_eq!(parts.uri, "/a%2Fb?q=1&q=2");
        let names: Vec<&str> = parts.headers.keys().map(HeaderName::as_str).collect();
        for gone in ["authorization", "connection", "x-mine", "x-metal9-probe", "transfer-encoding"]
        {
            assert!(!names.contains(&gone), "{gone} goes on");
        }
        let get = |name: &str| parts.headers[name].to_str().unwrap().to_owned();
        assert_eq!(get("x-forwarded-for"), "10.0.0.9");
        assert_eq!(get("x-forwarded-proto"), "https");
        assert_eq!(get("host"), "gateway:1994");
        assert_eq!(get("cookie"), "a=b");
        assert_eq!(get("x-task-id"), origin(true).task.to_string());
    }

    #[test]
    fn a_token_for_the_container_is_left_to_it() {
        let mut parts = parts("/x?auth_token=its", &[("authorization", "Basic its")]);
        request(&mut parts, "", &origin(false), false);
        assert_eq!(parts.uri, "/?auth_token=its");
        assert_eq!(parts.headers["authorization"], "Basic its");
    }

    #[test]
    fn another_protocol_is_asked_for_and_agreed_to() {
        let asks = [("connection", "Upgrade"), ("upgrade", "websocket")];
        let mut parts = parts("/ws", &asks);
        request(&mut parts, "/ws", &origin(false), true);
        assert_eq!(parts.headers["upgrade"], "websocket");
        let mut headers = parts.headers.clone();
        answer(&mut headers, origin(false).task, StubId(Uuid::nil()), true);
        assert_eq!(headers["connection"], "upgrade");
        answer(&mut headers, origin(false).task, StubId(Uuid::nil()), false);
        assert!(!headers.contains_key("upgrade"));
    }
}
