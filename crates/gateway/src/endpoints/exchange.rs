//! One request and its answer, from arrival to the last byte: what it holds meanwhile is given back
//! however it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Request;
use http_body_util::Empty;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use metal9_core::Input;
use metal9_tasks::CancellationToken;
use metal9_types::{FailureKind, TaskId};

use super::Underway;
use super::book::Place;
use super::connection::{self, ConnectError};
use super::record::Record;
use super::tunnels::OpenError;
use crate::admission::Claim;
use crate::shared::{Shared, SharedRef};
use crate::watched_body::WatchedBody;

/// How long a process may take to answer again after a client has gone: its handler may not notice.
const CLIENT_LEFT: Duration = Duration::from_secs(30);
/// The same after a request that took too long.
const TOO_LONG: Duration = Duration::from_secs(5);

/// A request that takes longer than this is written down before it is over.
pub(super) const LONG: Duration = Duration::from_millis(300);

/// Why a request is ended from outside.
pub(super) type Stop = Pin<Box<dyn Future<Output = &'static str> + Send>>;

/// A request that has not ended.
pub(super) struct Exchange {
    shared: SharedRef,
    task: TaskId,
    record: Option<Record>,
    place: Option<Place>,
    connection: Option<SendRequest<Body>>,
    /// The body of the request was sent whole.
    sent: Arc<AtomicBool>,
    /// Nothing of it is left in the container.
    clean: bool,
    patience: Duration,
    told: bool,
    _open: Claim,
}

impl Exchange {
    pub(super) fn new(
        shared: &SharedRef,
        task: TaskId,
        record: Option<Record>,
        open: Claim,
    ) -> (Self, CancellationToken) {
        let token = CancellationToken::new();
        let underway = Underway { token: token.clone(), served: None };
        shared.endpoints.underway().insert(task, underway);
        let exchange = Self {
            shared: SharedRef::clone(shared),
            task,
            record,
            place: None,
            connection: None,
            sent: Arc::new(AtomicBool::new(false)),
            clean: true,
            patience: CLIENT_LEFT,
            told: false,
            _open: open,
        };
        (exchange, token)
    }

    pub(super) fn task(&self) -> TaskId {
        self.task
    }

    /// Writes down how it is.
    pub(super) fn tell(&mut self) {
        if let Some(record) = &self.record {
            record.tell(&self.shared);
            self.told = true;
        }
    }

    /// It goes to this place from now on.
    pub(super) fn begins(&mut self, place: Place) {
        self.place = Some(place);
        if let Some(record) = &mut self.record {
            record.begins(&place);
            let served = Some((place.hold, record.row().clone()));
            if let Some(underway) = self.shared.endpoints.underway().get_mut(&self.task) {
                underway.served = served;
            }
            if record.is_alone() {
                self.shared.endpoints.latest().insert(place.hold, self.task);
            }
        }
        // Who was told that it waits is told that it does no more.
        if self.told {
            self.tell();
        }
    }

    /// Something of it is in the container.
    pub(super) fn sending(&mut self) {
        self.clean = false;
    }

    /// It was not sent after all.
    pub(super) fn unsent(&mut self) {
        self.clean = true;
    }

    /// Its place could not be reached.
    pub(super) fn unreached(&mut self) {
        if let Some(place) = self.place.take() {
            self.shared.endpoints.unreached(&place);
        }
        self.clean = true;
    }

    /// Keeps the connection for the next request.
    pub(super) fn keep(&mut self, connection: SendRequest<Body>) {
        self.connection = Some(connection);
    }

    /// The body of the request, whose end is noticed.
    pub(super) fn upload(&mut self, body: Body) -> Body {
        let sent = Arc::new(AtomicBool::new(body.is_end_stream()));
        self.sent = Arc::clone(&sent);
        Body::new(WatchedBody::new(body, sent))
    }

    /// It took too long.
    pub(super) fn timed_out(&mut self, text: &str) {
        self.patience = TOO_LONG;
        self.ends(Some((FailureKind::Timeout, text)));
    }

    /// It is over.
    pub(super) fn ends(&mut self, failure: Option<(FailureKind, &str)>) {
        if let Some(record) = &mut self.record {
            record.ends(&self.shared, failure);
        }
    }

    /// Why the container that it is in has ended; nothing if that has not, as far as is known.
    pub(super) async fn why_ended(&self) -> Option<(FailureKind, String)> {
        self.shared.endpoints.why_ended(self.place.as_ref()?.hold).await
    }

    /// Nothing of it is left in the container.
    pub(super) fn is_clean(&mut self) {
        self.clean = true;
    }

    fn is_long(&self) -> bool {
        !self.told && self.record.as_ref().is_some_and(|record| record.elapsed() >= LONG)
    }

    /// Writes down that it runs, if it has for a while.
    pub(super) fn goes_on(&mut self) {
        if self.is_long() {
            self.tell();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.shared.endpoints.underway().remove(&self.task);
        self.ends(Some((FailureKind::Cancelled, "the client went away")));
        let Some(place) = self.place.take() else { return };
        if self.clean {
            if let Some(connection) = self.connection.take()
                && self.sent.load(Ordering::Acquire)
            {
                self.shared.endpoints.pool.put(&place, connection);
            }
            self.shared.endpoints.done(&place);
            return;
        }
        // The connection closes with this, by which the application hears that nobody waits.
        self.connection = None;
        let (shared, patience) = (SharedRef::clone(&self.shared), self.patience);
        metal9_tasks::spawn_infallible("abandoned request", async move {
            recover(&shared, &place, patience).await;
        });
    }
}

/// Waits until a process answers again, whose request was abandoned; one that does not is ended, as
/// it would never take another.
async fn recover(shared: &SharedRef, place: &Place, patience: Duration) {
    let answers = tokio::time::timeout(patience, probe(shared, place)).await;
    match answers {
        // Without its worker nobody can say.
        Ok(Ok(()) | Err(ProbeError::Connect(ConnectError::Tunnel(OpenError::Away)))) => {}
        failed => {
            tracing::info!(
                container = %place.container,
                ?failed,
                "a container does not answer after a request that was abandoned; ending it"
            );
            shared.endpoints.condemned(place);
            let stop = Input::StopContainer { container: place.container };
            if shared.driver.input(stop).await.is_err() {
                tracing::debug!("the gateway is stopping");
            }
            return;
        }
    }
    shared.endpoints.done(place);
}

/// Why a process did not answer.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("it does not answer")]
    Http(#[from] hyper::Error),
}

async fn probe(shared: &Shared, place: &Place) -> Result<(), ProbeError> {
    let mut connection = connection::connect(shared, place).await?;
    let request = Request::get("/health")
        .header("host", "metal9")
        .header("x-metal9-probe", "1")
        .body(Body::new(Empty::new()))
        .unwrap_or_default();
    connection.send_request(request).await?;
    Ok(())
}

/// The body of an answer, which holds its request's place until it has ended.
pub(super) struct Answer {
    inner: Incoming,
    exchange: Exchange,
    stop: Stop,
    /// What it comes to if it arrives whole.
    failure: Option<(FailureKind, String)>,
    over: bool,
}

impl Answer {
    pub(super) fn new(
        inner: Incoming,
        exchange: Exchange,
        stop: Stop,
        failure: Option<(FailureKind, String)>,
    ) -> Self {
        Self { inner, exchange, stop, failure, over: false }
    }

    fn is_whole(&mut self) {
        self.over = true;
        self.exchange.is_clean();
        let failure = self.failure.as_ref().map(|(kind, text)| (*kind, text.as_str()));
        self.exchange.ends(failure);
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(why) = this.stop.as_mut().poll(context) {
            this.over = true;
            this.exchange.ends(Some((FailureKind::Cancelled, why)));
            return Poll::Ready(Some(Err(std::io::Error::other(why))));
        }
        this.exchange.goes_on();
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(None) => {
                this.is_whole();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                this.over = true;
                this.exchange.ends(Some((FailureKind::Crash, "the answer broke off")));
                this.exchange.unreached();
                Poll::Ready(Some(Err(std::io::Error::other(error))))
            }
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // Whoever counts the bytes does not ask whether there are more.
        if !self.over && self.inner.is_end_stream() {
            self.is_whole();
        }
    }
}
