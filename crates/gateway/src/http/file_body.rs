//! Answers whose body is a file: whole or a range of it, read as the client takes it.

use std::io::SeekFrom;
use std::ops::RangeInclusive;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::error::HttpError;
use crate::error::ApiError;
use crate::presigned::encoded;

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// What a client wants of a file.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    Part(RangeInclusive<u64>),
    /// A range that the file does not have.
    Nothing,
}

/// A `Range` header that is not understood is as none, as HTTP asks. Several ranges are answered
/// with the whole file, which HTTP allows.
fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some(Ok(parsed)) = header.map(http_range_header::parse_range_header) else {
        return Wanted::Whole;
    };
    match parsed.validate(size) {
        Ok(ranges) => match <[_; 1]>::try_from(ranges) {
            Ok([range]) => Wanted::Part(range),
            Err(_) => Wanted::Whole,
        },
        Err(_) => Wanted::Nothing,
    }
}

/// The answer: a download under `name`, which a browser does not run.
pub(super) async fn answer(
    file: std::fs::File,
    size: u64,
    name: &str,
    headers: &HeaderMap,
) -> Result<Response, HttpError> {
    let range = headers.get(RANGE).and_then(|value| value.to_str().ok());
    let (status, start, length) = match wanted(range, size) {
        Wanted::Whole => (StatusCode::OK, 0, size),
        Wanted::Part(part) => {
            (StatusCode::PARTIAL_CONTENT, *part.start(), part.end() - part.start() + 1)
        }
        Wanted::Nothing => {
            let has = [(CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, has).into_response());
        }
    };
    let mut file = tokio::fs::File::from_std(file);
    if start > 0 {
        file.seek(SeekFrom::Start(start)).await.map_err(unreadable)?;
    }
    let body = Body::from_stream(ReaderStream::with_capacity(file.take(length), CHUNK));
    let told = [
        (CONTENT_LENGTH, length.to_string()),
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename*=UTF-8''{}", encoded(name))),
        (ACCEPT_RANGES, "bytes".to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (CONTENT_SECURITY_POLICY, "sandbox".to_owned()),
    ];
    let mut response = (status, told, body).into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        let last = start + length - 1;
        let range = format!("bytes {start}-{last}/{size}").parse();
        range.map(|range| response.headers_mut().insert(CONTENT_RANGE, range)).ok();
    }
    Ok(response)
}

/// A file that was there a moment ago.
fn unreadable(error: std::io::Error) -> ApiError {
    tracing::error!(%error, "a file cannot be read");
    ApiError::Unavailable("the file cannot be read just now")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_file() {
        assert_eq!(wanted(None, 10), Wanted::Whole);
        assert_eq!(wanted(Some("bytes=0-4"), 10), Wanted::Part(0..=4));
        assert_eq!(wanted(Some("bytes=5-"), 10), Wanted::Part(5..=9));
        assert_eq!(wanted(Some("bytes=-3"), 10), Wanted::Part(7..=9));
        assert_eq!(wanted(Some("bytes=10-12"), 10), Wanted::Nothing);
        assert_eq!(wanted(Some("lines=1-2"), 10), Wanted::Whole);
    }
}
