//! Connections that become something else than HTTP: WebSockets.

use axum::http::Method;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use metal9_types::FailureKind;
use tokio::io::copy_bidirectional;

use super::exchange::{Exchange, Stop};

/// `true` if a request wants to become a WebSocket.
pub(super) fn is_wanted(parts: &Parts) -> bool {
    let has = |name, wanted: &str| {
        let values = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|it| it.trim().eq_ignore_ascii_case(wanted))
    };
    parts.method == Method::GET && has(CONNECTION, "upgrade") && has(UPGRADE, "websocket")
}

/// Carries bytes both ways until both sides have ended, in the background.
pub(super) fn carry(client: OnUpgrade, upstream: OnUpgrade, mut exchange: Exchange, stop: Stop) {
    metal9_tasks::spawn_infallible("websocket", async move {
        let (client, upstream) = match tokio::try_join!(client, upstream) {
            Ok(both) => both,
            Err(error) => {
                tracing::debug!(%error, "a connection did not become a WebSocket");
                return;
            }
        };
        exchange.tell();
        let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
        tokio::select! {
            carried = copy_bidirectional(&mut client, &mut upstream) => match carried {
                Ok(_) => {
                    exchange.is_clean();
                    exchange.ends(None);
                }
                Err(error) => {
                    tracing::debug!(%error, "a WebSocket broke off");
                    exchange.ends(Some((FailureKind::Cancelled, "the connection broke off")));
                }
            },
            why = stop => exchange.ends(Some((FailureKind::Cancelled, why))),
        }
    });
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn only_a_whole_handshake_is_one() {
        let parts = |connection: &str, upgrade: &str| {
            let request = Request::get("/").header("connection", connection);
            request.header("upgrade", upgrade).body(()).unwrap().into_parts().0
        };
        assert!(is_wanted(&parts("keep-alive, Upgrade", "WebSocket")));
        assert!(!is_wanted(&parts("keep-alive", "websocket")));
        assert!(!is_wanted(&parts("upgrade", "h2c")));
    }
}
