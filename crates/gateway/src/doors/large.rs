//! Saying in words that a message is too large, which is noticed before any handler sees it.

use http::Response;
use metal9_proto::MAX_MESSAGE_BYTES;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::error::ApiError;

/// How tonic begins what it says of a message over its limit.
const TOO_LARGE: &str = "Error, decoded message length too large";

/// The answer to a call, with our own words if its message was too large.
pub(super) fn in_words(answer: Response<Body>) -> Response<Body> {
    let too_large = Status::from_header_map(answer.headers()).is_some_and(|status| {
        status.code() == Code::OutOfRange && status.message().starts_with(TOO_LARGE)
    });
    if too_large { Status::from(refusal()).into_http() } else { answer }
}

fn refusal() -> ApiError {
    ApiError::Limit(format!(
        "the message is larger than {} MiB, which is the most that a call may carry\nhint: put large \
         data into a volume or a file of the project, which the function reads",
        MAX_MESSAGE_BYTES / (1024 * 1024),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(answer: Response<Body>) -> (Code, String) {
        let status = Status::from_header_map(in_words(answer).headers());
        let status = status.unwrap_or_else(|| Status::ok(""));
        (status.code(), status.message().to_owned())
    }

    #[test]
    fn only_a_message_that_is_too_large_is_told_in_other_words() {
        let text = format!("{TOO_LARGE}: found 5 bytes, the limit is: 4 bytes");
        let (code, words) = said(Status::out_of_range(&text).into_http());
        assert_eq!(code, Code::ResourceExhausted);
        assert!(words.contains("16 MiB") && words.contains("\nhint: "), "{words}");
        let other = Status::out_of_range("an offset beyond the end");
        assert_eq!(said(other.clone().into_http()), (Code::OutOfRange, other.message().into()));
        assert_eq!(said(Response::new(Body::empty())).0, Code::Ok);
    }
}
