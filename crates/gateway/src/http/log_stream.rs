//! GET /api/v1/logs/{workspace}/stream: lines of output as they come, as server-sent events.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use metal9_store::UnixMicros;
use metal9_types::TaskId;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::error::HttpError;
use super::log_lines::Parameters;
use super::openapi::ServerSentEvent;
use crate::auth::Caller;
use crate::log_search::{Line, Reader, Target, Wish};
use crate::shared::{Shared, SharedRef};
use crate::timestamps::now;

/// Events that may wait for a client that reads slowly.
const QUEUE: usize = 64;
/// How long new output may wait to be seen.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Lines as server-sent events: one `log` per line that is written from now on, or after the line
/// whose id the client names in `Last-Event-ID`. Does not end by itself.
#[utoipa::path(get, path = "/api/v1/logs/{workspace}/stream", tag = "logs",
    params(("workspace" = String, Path, description = "The workspace's id"), Parameters),
    responses((status = 200, content_type = "text/event-stream", body = ServerSentEvent)))]
pub(super) async fn stream(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(workspace): Path<String>,
    Query(asked): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, HttpError> {
    let (target, mut wish) = asked.read(&shared, &caller, &workspace).await?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let last = last.and_then(|id| id.trim().parse::<UnixMicros>().ok());
    wish.since = Some(last.map_or_else(now, |last| last + 1));
    let open = shared.admission.stream(caller.workspace)?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let mut leave = caller.leave.clone();
    metal9_tasks::spawn_infallible("log stream", async move {
        let _open = open;
        let mut follower = Follower { target, wish, seen: HashMap::new() };
        loop {
            match follower.new_lines(&shared).await {
                Ok(lines) => {
                    for line in lines {
                        let Ok(event) = event(line) else { return };
                        if sender.send(Ok(event)).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => {
                    let error = json!({ "error": error.to_string() }).to_string();
                    // Nobody may be there to read it.
                    let _ = sender.send(Ok(Event::default().event("error").data(error))).await;
                    return;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = sender.closed() => return,
                _ = leave.over() => return,
                () = shared.shutdown.cancelled() => return,
            }
        }
    });
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::default()))
}

fn event(line: Line) -> Result<Event, axum::Error> {
    Event::default().id(line.at.to_string()).event("log").json_data(line.told())
}

/// What was told so far.
struct Follower {
    target: Target,
    wish: Wish,
    seen: HashMap<TaskId, Reader>,
}

impl Follower {
    /// Lines that were written since the last look, in the order of time.
    async fn new_lines(&mut self, shared: &Shared) -> std::io::Result<Vec<Line>> {
        let sources = self.target.sources(shared).await.map_err(std::io::Error::other)?;
        let mut found = Vec::new();
        let since = self.wish.since.unwrap_or_default();
        for source in &sources {
            let log = source.log;
            let ended_before = source.ended_at.is_some_and(|end| end < since);
            if ended_before && !self.seen.contains_key(&log) {
                continue;
            }
            let end = shared.store.logs().len(log).await?;
            let reader = self.seen.entry(log).or_insert_with(|| Reader::new(source, 0));
            let whole = reader.read(shared, end, &self.wish, &mut found).await?;
            if whole && source.ended_at.is_some() {
                reader.rest(&self.wish, &mut found);
            }
        }
        // What is no longer among the newest is not looked at again.
        self.seen.retain(|log, _| sources.iter().any(|source| source.log == *log));
        found.sort_by_key(|line| line.at);
        Ok(found)
    }
}
