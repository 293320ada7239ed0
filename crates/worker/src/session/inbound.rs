//! What the gateway says during a session.

use tokio::sync::mpsc;

use crate::convert::{self, ConvertError};
use crate::event::Event;
use crate::session::connect::{Opened, SessionError};

/// Hands every message to the manager, until the session ends.
pub(crate) async fn read(opened: Opened, events: &mpsc::Sender<Event>) -> Result<(), SessionError> {
    let Opened { welcome, outgoing, mut incoming } = opened;
    tracing::info!("connected to the gateway");
    let open = Event::Open { welcome, outgoing };
    events.send(open).await.map_err(|_| SessionError::Ending)?;
    while let Some(message) = incoming.message().await.map_err(SessionError::Gateway)? {
        match convert::order(message) {
            Ok(order) => {
                let event = Event::Order(order);
                events.send(event).await.map_err(|_| SessionError::Ending)?;
            }
            // A newer gateway may say more than this worker understands.
            Err(ConvertError::Empty) => tracing::warn!("{}", ConvertError::Empty),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
