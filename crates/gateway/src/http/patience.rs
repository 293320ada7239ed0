//! How long a request's body may stand still.

use axum::body::Body;
use axum::http::Request;
use futures::StreamExt;

use crate::doors::HEADERS;

/// Ends a body of which nothing comes for as long as a request's headers may take: what waits for it
/// holds memory, and a connection.
pub(super) fn bounded(request: Request<Body>) -> Request<Body> {
    request.map(|body| {
        // Boxed, since a stream that is polled again and again must stay where it is.
        let pieces = Box::pin(body.into_data_stream());
        let pieces = futures::stream::unfold(pieces, |mut pieces| async {
            let piece = match tokio::time::timeout(HEADERS, pieces.next()).await {
                Ok(piece) => piece?.map_err(std::io::Error::other),
                Err(_) => {
                    let text = format!("the body stood still for {} s", HEADERS.as_secs());
                    Err(std::io::Error::new(std::io::ErrorKind::TimedOut, text))
                }
            };
            Some((piece, pieces))
        });
        Body::from_stream(pieces)
    })
}
