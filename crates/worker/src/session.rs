//! The worker's one session with the gateway, opened again whenever it ends.

mod connect;
mod inbound;
mod outbound;

use std::time::{Duration, Instant};

use metal9_tls::ConnectError;
use metal9_types::Offer;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::backoff::Backoff;
use crate::event::Event;
use crate::gateway::Gateway;
use crate::relay::Relays;
use crate::runner::Described;
use crate::session::connect::SessionError;

/// The longest pause between two tries: a restarted gateway waits for its workers, and what they run.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The same where the gateway does not accept the worker: nobody but people changes that.
const LONGEST_REFUSED: Duration = Duration::from_secs(60);

/// A session that lasted this long was a good one: the next try does not wait long.
const GOOD_SESSION: Duration = Duration::from_secs(5);

/// How a session ended that nothing is wrong with.
enum End {
    /// By the gateway.
    Theirs,
    /// By us, since a hello says what the worker offers and that has changed.
    OtherOffer,
}

/// Keeps a session open until `shutdown`, and lets the last one end in its own time.
///
/// Jobs go on while there is none; what they report is kept in the outbox.
pub(crate) async fn run(
    gateway: Gateway,
    relays: Option<Relays>,
    mut offer: watch::Receiver<Offer>,
    isolation: Described,
    events: mpsc::Sender<Event>,
    shutdown: CancellationToken,
) {
    let mut backoff = Backoff::new(LONGEST_PAUSE);
    let mut refusals = Backoff::new(LONGEST_REFUSED);
    while !shutdown.is_cancelled() && !events.is_closed() {
        let begun = Instant::now();
        let end = once(&gateway, relays.as_ref(), &mut offer, &isolation, &events, &shutdown).await;
        if events.send(Event::Closed).await.is_err() || shutdown.is_cancelled() {
            return;
        }
        if begun.elapsed() >= GOOD_SESSION {
            backoff.reset();
        }
        if matches!(end, Ok(End::OtherOffer)) {
            tracing::info!("what this machine offers has changed; telling the gateway");
            continue;
        }
        let refused = is_refusal(&end);
        let pause = if refused {
            refusals.next()
        } else {
            refusals.reset();
            backoff.next()
        };
        log(end, refused);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// One session from its hello to its end.
async fn once(
    gateway: &Gateway,
    relays: Option<&Relays>,
    offer: &mut watch::Receiver<Offer>,
    isolation: &Described,
    events: &mpsc::Sender<Event>,
    shutdown: &CancellationToken,
) -> Result<End, SessionError> {
    let said = offer.borrow_and_update().clone();
    let mut opened = tokio::select! {
        opened = connect::open(gateway, &said, isolation, events) => opened?,
        () = shutdown.cancelled() => return Ok(End::Theirs),
    };
    if let Some(relays) = relays {
        relays.redirect(&mut opened.welcome)?;
    }
    tokio::select! {
        read = inbound::read(opened, events) => read.map(|()| End::Theirs),
        () = changed(offer) => Ok(End::OtherOffer),
    }
}

/// Waits until the worker offers something else, which most never do.
async fn changed(offer: &mut watch::Receiver<Offer>) {
    if offer.changed().await.is_err() {
        std::future::pending().await
    }
}

/// Whether the gateway does not accept the worker.
fn is_refusal(end: &Result<End, SessionError>) -> bool {
    let Err(SessionError::Gateway(status)) = end else { return false };
    matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied)
}

fn log(end: Result<End, SessionError>, refused: bool) {
    match end {
        Ok(_) => tracing::info!("the gateway ended the session; connecting again"),
        Err(SessionError::Gateway(status)) if refused => {
            tracing::error!(
                error = status.message(),
                "the gateway does not accept this worker; join it again with a new join token"
            );
        }
        Err(SessionError::Gateway(status)) if ConnectError::find(&status).is_some() => {
            let Some(error) = ConnectError::find(&status) else { return };
            let (hint, error) = (error.hint(), crate::errors::chain(error));
            tracing::warn!(error, hint, "no session with the gateway; connecting again");
        }
        Err(error) => {
            let error = crate::errors::chain(&error);
            tracing::warn!(error, "no session with the gateway; connecting again");
        }
    }
}
