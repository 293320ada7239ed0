//! Opening a session: hello and welcome.

use std::time::Duration;

use metal9_proto::worker as wire;
use metal9_types::Offer;
use tokio::sync::{mpsc, oneshot};
use tonic::{Status, Streaming};

use crate::convert::{self, ConvertError};
use crate::event::{Event, Welcome};
use crate::gateway::Gateway;
use crate::report::Report;
use crate::runner::Described;
use crate::session::outbound;

/// How long the gateway may take to answer a hello.
const WELCOME_WITHIN: Duration = Duration::from_secs(10);

/// Reports on their way into a session. Small, so that what waits stays in the outbox.
const OUTGOING: usize = 32;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("the session failed: {} ({:?})", .0.message(), .0.code())]
    Gateway(Status),
    #[error("the gateway did not answer within {WELCOME_WITHIN:?}")]
    Silent,
    #[error("the gateway ended the session before it had begun")]
    NoWelcome,
    #[error("the gateway sent something unexpected")]
    Protocol(#[from] ConvertError),
    #[error("jobs cannot be given a way to the gateway")]
    Relay(#[from] metal9_tls::TlsError),
    #[error("the worker is ending")]
    Ending,
}

/// A session that has been welcomed.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) welcome: Welcome,
    pub(crate) outgoing: mpsc::Sender<Report>,
    pub(crate) incoming: Streaming<wire::GatewayMessage>,
}

/// Says hello and waits for the welcome.
pub(crate) async fn open(
    gateway: &Gateway,
    offer: &Offer,
    isolation: &Described,
    events: &mpsc::Sender<Event>,
) -> Result<Opened, SessionError> {
    let (presence, answer) = oneshot::channel();
    events.send(Event::Opening { presence }).await.map_err(|_| SessionError::Ending)?;
    let presence = answer.await.map_err(|_| SessionError::Ending)?;

    let (outgoing, reports) = mpsc::channel(OUTGOING);
    let messages = outbound::messages(convert::hello(offer, isolation, presence), reports);
    let greeting = async {
        let mut incoming = gateway.session(messages).await.map_err(SessionError::Gateway)?;
        let first = incoming.message().await.map_err(SessionError::Gateway)?;
        let welcome = convert::welcome(first.ok_or(SessionError::NoWelcome)?)?;
        Ok(Opened { welcome, outgoing, incoming })
    };
    tokio::time::timeout(WELCOME_WITHIN, greeting).await.map_err(|_| SessionError::Silent)?
}
