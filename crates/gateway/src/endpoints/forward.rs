//! Taking a request to a container and its answer back.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Request, Response as HttpResponse, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::upgrade::OnUpgrade;
use metal9_store::StubRow;
use metal9_tasks::CancellationToken;
use metal9_types::{FailureKind, TaskId};
use tokio::time::Instant;
use uuid::Uuid;

use super::book::Place;
use super::exchange::{Answer, Exchange, LONG, Stop};
use super::record::Record;
use super::refusal::{error, refused};
use super::target::Access;
use super::{connection, headers, websocket};
use crate::http::HttpError;
use crate::shared::{Shared, SharedRef};

/// How often a request is taken to a container if it never gets there.
const TRIES: u32 = 20;

/// How often it is looked at whether any container can be had at all.
const LOOK: Duration = Duration::from_secs(1);

/// Takes a request to a container of the stub and gives its answer. `path` is the path there, with
/// a slash in front; empty for the root.
pub(crate) async fn forward(
    shared: &SharedRef,
    stub: &Arc<StubRow>,
    access: Access,
    path: &str,
    request: Request<Body>,
) -> Response {
    let task = TaskId(Uuid::now_v7());
    // A question whether it is well is no task.
    let record = (path != "/health").then(|| Record::new(task, stub));
    travel(shared, stub, access, path, request, (task, record)).await
}

/// The same for a request that has a name and a record.
pub(super) async fn travel(
    shared: &SharedRef,
    stub: &Arc<StubRow>,
    access: Access,
    path: &str,
    request: Request<Body>,
    (task, record): (TaskId, Option<Record>),
) -> Response {
    if stub.config.is_developed() {
        shared.serves.touch(stub.id);
    }
    let open = match shared.admission.stream(stub.workspace) {
        Ok(open) => open,
        Err(error) => {
            if let Some(mut record) = record {
                record.ends(shared, Some((FailureKind::Internal, &error.to_string())));
            }
            return HttpError::from(error).into_response();
        }
    };
    let is_task = record.is_some();
    let (exchange, token) = Exchange::new(shared, task, record, open);
    let (mut parts, body) = request.into_parts();
    let upgrades = websocket::is_wanted(&parts);
    let client = upgrades.then(|| parts.extensions.remove::<OnUpgrade>()).flatten();
    let origin = headers::Origin {
        task,
        peer: &access.peer,
        tls: shared.certificates.is_some(),
        token_used: access.caller.is_some(),
    };
    headers::request(&mut parts, path, &origin, upgrades);
    let stop = stop(&access, token);
    let journey = Journey { shared, stub, exchange, stop, tries: 0 };
    let mut response = journey.run(parts, body, client).await;
    match is_task {
        true => headers::mark(response.headers_mut(), task, stub.id),
        false => headers::mark_stub(response.headers_mut(), stub.id),
    }
    response
}

/// Resolves when the request is ended from outside: its user stopped it, or its token ended.
fn stop(access: &Access, token: CancellationToken) -> Stop {
    let leave = access.caller.as_ref().map(|caller| caller.leave.clone());
    Box::pin(async move {
        let left = async {
            match leave {
                Some(mut leave) => drop(leave.over().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = token.cancelled() => "it was cancelled by its user",
            () = left => "its token is not good any more",
        }
    })
}

/// A request on its way.
struct Journey<'a> {
    shared: &'a SharedRef,
    stub: &'a Arc<StubRow>,
    exchange: Exchange,
    stop: Stop,
    tries: u32,
}

/// What became of a try.
enum Sent {
    /// The container answers.
    Answered(HttpResponse<Incoming>, SendRequest<Body>),
    /// It never got there.
    Unsent(Request<Body>),
    /// It may have got there, and no answer comes.
    Broke(String),
    /// It takes too long.
    TimedOut(Duration),
    /// It is ended from outside.
    Stopped(&'static str),
}

impl Journey<'_> {
    async fn run(mut self, parts: Parts, body: Body, client: Option<OnUpgrade>) -> Response {
        // One that carries nothing and changes nothing may be made twice.
        let again = (matches!(parts.method, Method::GET | Method::HEAD) && body.is_end_stream())
            .then(|| parts.clone());
        let body = self.exchange.upload(body);
        let mut request = Request::from_parts(parts, body);
        let ttl = Duration::from_secs(self.stub.config.ttl_seconds.max(1));
        let deadline = Instant::now() + ttl;
        let mut repeated = false;
        loop {
            let place = match self.place(deadline).await {
                Ok(place) => place,
                Err(response) => return *response,
            };
            self.exchange.begins(place);
            match self.send(&place, request).await {
                Sent::Answered(answer, connection) => {
                    return self.answer(answer, connection, client);
                }
                Sent::Unsent(back) => {
                    self.exchange.unreached();
                    request = back;
                }
                Sent::Broke(_) if again.is_some() && !repeated => {
                    repeated = true;
                    self.exchange.unreached();
                    let parts = again.clone().unwrap_or_else(|| unreachable!("looked at above"));
                    let body = self.exchange.upload(Body::empty());
                    request = Request::from_parts(parts, body);
                }
                Sent::Broke(why) => {
                    self.exchange.unreached();
                    let ended = self.shared.endpoints.why_ended(place.hold).await;
                    let (kind, why) = ended.unwrap_or((FailureKind::Crash, why));
                    return self.fail(StatusCode::BAD_GATEWAY, kind, &why);
                }
                Sent::TimedOut(limit) => {
                    let text = format!("no answer within {} s (its timeout)", limit.as_secs());
                    self.exchange.timed_out(&text);
                    return error(StatusCode::GATEWAY_TIMEOUT, &text);
                }
                Sent::Stopped(why) => {
                    let status = StatusCode::SERVICE_UNAVAILABLE;
                    return self.fail(status, FailureKind::Cancelled, why);
                }
            }
            self.tries += 1;
            if self.tries >= TRIES {
                let text = "the container cannot be reached";
                return self.fail(StatusCode::BAD_GATEWAY, FailureKind::Internal, text);
            }
        }
    }

    fn fail(&mut self, status: StatusCode, kind: FailureKind, text: &str) -> Response {
        self.exchange.ends(Some((kind, text)));
        error(status, text)
    }

    /// Waits for a place.
    async fn place(&mut self, deadline: Instant) -> Result<Place, Box<Response>> {
        let shared = self.shared;
        let endpoints = &shared.endpoints;
        let request = self.exchange.task();
        let serving = shared.scales.serving(self.stub);
        let mut waiting = match endpoints.ask(self.stub, serving, request) {
            Ok(waiting) => waiting,
            Err(refusal) => {
                self.exchange.ends(Some((FailureKind::Expired, "no container took it")));
                return Err(Box::new(refused(&refusal)));
            }
        };
        let grace = Duration::from_secs_f32(shared.options.worker_lost_seconds);
        let mut hopeless: Option<Instant> = None;
        let mut first = true;
        loop {
            // A request that finds a container at once is not written down yet.
            let pause = if first { Duration::from_millis(20) } else { LOOK };
            tokio::select! {
                biased;
                place = waiting.place() => return place.map_err(|refusal| {
                    let response = refused(&refusal);
                    let text = "its container did not start";
                    self.exchange.ends(Some((FailureKind::Internal, text)));
                    Box::new(response)
                }),
                why = &mut self.stop => {
                    let status = StatusCode::SERVICE_UNAVAILABLE;
                    return Err(Box::new(self.fail(status, FailureKind::Cancelled, why)));
                }
                () = tokio::time::sleep_until(deadline) => {
                    let text = waited(shared, self.stub, "no container took the request in time");
                    let status = StatusCode::GATEWAY_TIMEOUT;
                    return Err(Box::new(self.fail(status, FailureKind::Expired, &text)));
                }
                () = tokio::time::sleep(pause) => {}
            }
            if std::mem::take(&mut first) {
                self.exchange.tell();
                continue;
            }
            let since = match is_hopeless(shared, self.stub).await {
                true => *hopeless.get_or_insert_with(Instant::now),
                false => {
                    hopeless = None;
                    continue;
                }
            };
            if since.elapsed() >= grace {
                let text = waited(shared, self.stub, "no worker can serve the request");
                let status = StatusCode::SERVICE_UNAVAILABLE;
                return Err(Box::new(self.fail(status, FailureKind::Expired, &text)));
            }
        }
    }

    async fn send(&mut self, place: &Place, mut request: Request<Body>) -> Sent {
        let limit = self.stub.config.timeout_seconds.map(Duration::from_secs);
        let deadline = limit.map(|limit| Instant::now() + limit);
        loop {
            let kept = self.shared.endpoints.pool.take(place);
            let is_kept = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                None => match connection::connect(self.shared, place).await {
                    Ok(sender) => sender,
                    Err(error) => {
                        tracing::debug!(container = %place.container, %error, "unreachable");
                        return Sent::Unsent(request);
                    }
                },
            };
            if sender.ready().await.is_err() {
                if is_kept {
                    continue;
                }
                return Sent::Unsent(request);
            }
            self.exchange.sending();
            let answering = sender.try_send_request(request);
            tokio::pin!(answering);
            let long = Instant::now() + LONG;
            let mut told = false;
            let answer = loop {
                tokio::select! {
                    biased;
                    answer = &mut answering => break answer,
                    why = &mut self.stop => return Sent::Stopped(why),
                    () = until(deadline) => return Sent::TimedOut(limit.unwrap_or_default()),
                    () = tokio::time::sleep_until(long), if !told => {
                        told = true;
                        self.exchange.goes_on();
                    }
                }
            };
            match answer {
                Ok(answer) => return Sent::Answered(answer, sender),
                Err(mut failed) => match failed.take_message() {
                    Some(back) => {
                        self.exchange.unsent();
                        request = back;
                        if !is_kept {
                            return Sent::Unsent(request);
                        }
                    }
                    None => {
                        let error = failed.into_error();
                        return Sent::Broke(format!("the container gave no answer: {error}"));
                    }
                },
            }
        }
    }

    /// Passes an answer on; what is not its body yet goes on after this returns.
    fn answer(
        mut self,
        answer: HttpResponse<Incoming>,
        connection: SendRequest<Body>,
        client: Option<OnUpgrade>,
    ) -> Response {
        let stub = self.stub.id;
        let (mut parts, body) = answer.into_parts();
        let switched = parts.status == StatusCode::SWITCHING_PROTOCOLS;
        let upstream = parts.extensions.remove::<OnUpgrade>();
        let task = self.exchange.task();
        headers::answer(&mut parts.headers, task, stub, switched);
        // Those of a connection that is another now, or of its parts, are not the client's.
        parts.extensions.clear();
        self.exchange.goes_on();
        if switched {
            return match client.zip(upstream) {
                Some((client, upstream)) => {
                    websocket::carry(client, upstream, self.exchange, self.stop);
                    Response::from_parts(parts, Body::empty())
                }
                None => self.fail(
                    StatusCode::BAD_GATEWAY,
                    FailureKind::Internal,
                    "the container changed the protocol without being asked to",
                ),
            };
        }
        self.exchange.keep(connection);
        let failure = parts.status.is_server_error().then(|| {
            (FailureKind::Exception, format!("it was answered with status {}", parts.status))
        });
        let body = Answer::new(body, self.exchange, self.stop, failure);
        Response::from_parts(parts, Body::new(body))
    }
}

/// `true` if no worker there is could ever run a container of the stub.
async fn is_hopeless(shared: &Shared, stub: &StubRow) -> bool {
    let holds = shared.endpoints.holds(stub.id);
    let look = shared.driver.query(move |core, _| {
        !holds.is_empty() && holds.iter().all(|(hold, _)| core.is_unplaceable(*hold))
    });
    look.await.unwrap_or(false)
}

/// What happened, and why, if the scheduler has said so.
fn waited(shared: &Shared, stub: &StubRow, what: &str) -> String {
    match shared.endpoints.reason(stub.id) {
        Some(reason) => format!("{what}; {reason}"),
        None => what.to_owned(),
    }
}

/// Resolves at a time, if there is one.
pub(crate) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Waits for a container of the stub; it is kept warm from then on as after any request.
pub(crate) async fn warm_up(shared: &SharedRef, stub: &Arc<StubRow>) -> Response {
    let open = match shared.admission.stream(stub.workspace) {
        Ok(open) => open,
        Err(error) => return HttpError::from(error).into_response(),
    };
    let task = TaskId(Uuid::now_v7());
    let (exchange, token) = Exchange::new(shared, task, None, open);
    let stop = Box::pin(async move {
        token.cancelled().await;
        "it was cancelled"
    });
    let mut journey = Journey { shared, stub, exchange, stop, tries: 0 };
    let ttl = Duration::from_secs(stub.config.ttl_seconds.max(1));
    match journey.place(Instant::now() + ttl).await {
        Ok(place) => {
            journey.exchange.begins(place);
            let mut response = StatusCode::OK.into_response();
            headers::mark_stub(response.headers_mut(), stub.id);
            response
        }
        Err(response) => *response,
    }
}
