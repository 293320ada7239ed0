//! A sentence for every call that is not served.
//!
//! Generated services answer UNIMPLEMENTED without saying what was asked. This layer adds the
//! sentence, so that no list of unserved calls has to be kept. Of the client API's calls it also
//! changes the code: of UNIMPLEMENTED the SDK shows users the code only, and of INVALID_ARGUMENT what
//! is said.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response};
use tower::{Layer, Service};

/// gRPC's number for UNIMPLEMENTED.
const UNIMPLEMENTED: &str = "12";
/// gRPC's number for INVALID_ARGUMENT.
const INVALID_ARGUMENT: HeaderValue = HeaderValue::from_static("3");

/// Packages of the client API.
const CLIENT_API: [&str; 16] = [
    "bot",
    "disk",
    "endpoint",
    "function",
    "gateway",
    "image",
    "managedendpoint",
    "map",
    "output",
    "pod",
    "secret",
    "shell",
    "signal",
    "simplequeue",
    "taskqueue",
    "volume",
];

/// Adds [`Explain`] to a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExplainLayer;

impl<S> Layer<S> for ExplainLayer {
    type Service = Explain<S>;

    fn layer(&self, inner: S) -> Explain<S> {
        Explain { inner }
    }
}

/// Adds a sentence to UNIMPLEMENTED answers.
#[derive(Clone, Debug)]
pub(crate) struct Explain<S> {
    inner: S,
}

impl<S, A, B> Service<Request<A>> for Explain<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            let headers = response.headers_mut();
            if headers.get("grpc-status").is_some_and(|status| status == UNIMPLEMENTED) {
                let sentence = sentence(&path);
                if CLIENT_API.contains(&package(&path)) {
                    headers.insert("grpc-status", INVALID_ARGUMENT);
                }
                if let Ok(value) = HeaderValue::from_str(&sentence) {
                    headers.insert("grpc-message", value);
                }
            }
            Ok(response)
        })
    }
}

/// The package of a method, by the path that it is called by.
fn package(path: &str) -> &str {
    path.trim_start_matches('/').split('.').next().unwrap_or_default()
}

/// The sentence, in the characters that gRPC sends as they are.
fn sentence(path: &str) -> String {
    let mut parts = path.trim_start_matches('/').split('/');
    let method = parts.nth(1).unwrap_or_default();
    let feature = match package(path) {
        "taskqueue" => "asking a queue for its tasks, which the scheduler gives to containers",
        "disk" => "disks",
        "pod" => "pods and sandboxes",
        "shell" => "shells",
        "bot" => "bots",
        "managedendpoint" => "managed endpoints",
        "gateway" if method.contains("Checkpoint") => "checkpoints",
        "gateway" if method.contains("JoinToken") => "join tokens without their command",
        "gateway" if method.contains("Pool") || method.contains("Machine") => "renting machines",
        _ => "this call",
    };
    let method: String = method.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("metal9 {} does not support {feature} ({method})", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_names_the_feature_and_the_call() {
        let text = sentence("/taskqueue.TaskQueueService/TaskQueuePop");
        assert!(text.contains("queue") && text.contains("TaskQueuePop"), "{text}");
        let text = sentence("/gateway.GatewayService/CheckpointContainer");
        assert!(text.contains("checkpoints"), "{text}");
        assert!(sentence("/x.Y/Z\u{e9}\n").is_ascii());
    }
}
