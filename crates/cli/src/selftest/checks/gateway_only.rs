//! A job that may reach the gateway only reaches it, and nothing else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Found;
use crate::selftest::client::{Ask, found, tail};
use crate::selftest::jobs::Jobs;

/// A name that everybody can look up who can look up any.
const NAME: &str = "example.com";

/// How long trying it out from here may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Lets a job try everything that is open here, on a worker with the policy `gateway-only`.
pub(in crate::selftest) async fn gateway_only(jobs: &Jobs) -> Result<Found> {
    let open = tokio::task::spawn_blocking(Open::here).await??;
    let name = resolves(NAME).await.then_some(NAME);
    let tcp: Vec<_> = open.tcp.iter().map(|(_, it)| (it.ip().to_string(), it.port())).collect();
    let udp = (open.udp_at.ip().to_string(), open.udp_at.port());
    let end = jobs.run(&Ask::new("dial"), json!({ "tcp": tcp, "udp": udp, "name": name })).await?;
    let said = found(&end.output, 1)
        .with_context(|| format!("the job did not get to its end: {}", tail(&end.output)))?;
    let mut tried: Vec<&str> = open.tcp.iter().map(|(what, _)| *what).collect();
    tried.push("UDP");
    tried.extend(name.map(|_| "names"));
    Ok(judge(&said, open.heard(), &tried))
}

/// What is open on this machine.
struct Open {
    /// What each is, and where.
    tcp: Vec<(&'static str, SocketAddr)>,
    udp: UdpSocket,
    udp_at: SocketAddr,
    _listeners: Vec<TcpListener>,
}

impl Open {
    /// Opens ports; each can be reached from here.
    fn here() -> Result<Self> {
        let mut places = vec![("another port", IpAddr::from(Ipv4Addr::LOCALHOST))];
        places.push(("::1", Ipv6Addr::LOCALHOST.into()));
        places.extend(own_address().map(|address| ("the machine's own address", address)));
        let (mut tcp, mut listeners) = (Vec::new(), Vec::new());
        for (what, address) in places {
            // A machine may have no IPv6.
            let Ok(listener) = TcpListener::bind((address, 0)) else { continue };
            let at = listener.local_addr()?;
            if TcpStream::connect_timeout(&at, PATIENCE).is_ok() {
                tcp.push((what, at));
                listeners.push(listener);
            }
        }
        ensure!(!tcp.is_empty(), "no port of this machine can be reached, not even from here");
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let udp_at = udp.local_addr()?;
        udp.set_read_timeout(Some(PATIENCE))?;
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.send_to(b"from here", udp_at)?;
        udp.recv(&mut [0; 16]).context("no datagram of this machine can be received")?;
        udp.set_nonblocking(true)?;
        Ok(Self { tcp, udp, udp_at, _listeners: listeners })
    }

    /// Whether a datagram has come.
    fn heard(&self) -> bool {
        self.udp.recv(&mut [0; 16]).is_ok()
    }
}

/// The address by which the machine is known in its network, if it has one.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address for documentation; nothing is sent there, it is only looked which way that would go.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    Some(address).filter(|it| !it.is_loopback() && !it.is_unspecified())
}

async fn resolves(name: &str) -> bool {
    let asked = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((name, 443))).await;
    asked.is_ok_and(|found| found.is_ok_and(|mut found| found.next().is_some()))
}

/// What the job has reached means.
fn judge(said: &Value, heard: bool, tried: &[&str]) -> Found {
    if let Some(reason) = said["unreached"].as_str() {
        return Found::fail(format!("a job cannot reach the gateway: {reason}"));
    }
    let reached = said["reached"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut reached: Vec<&str> = reached.collect();
    reached.extend(heard.then_some("send a datagram"));
    if !reached.is_empty() {
        return Found::fail(format!(
            "under the policy `gateway-only` a job could {}",
            reached.join(", ")
        ));
    }
    Found::ok(format!("a job reaches the gateway, and not: {}", tried.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Status;

    #[test]
    fn only_the_gateway_may_be_reached() {
        let sound = json!({ "reached": [] });
        let found = judge(&sound, false, &["another port", "UDP"]);
        assert!(found.status == Status::Ok && found.text.ends_with("another port, UDP"));
        assert_eq!(judge(&sound, true, &[]).status, Status::Fail, "a datagram came");
        let open = json!({ "reached": ["connect to ::1 port 7"] });
        let found = judge(&open, false, &[]);
        assert!(found.status == Status::Fail && found.text.contains("::1 port 7"), "{found:?}");
        let cut = json!({ "reached": [], "unreached": "refused" });
        assert_eq!(judge(&cut, false, &[]).status, Status::Fail);
    }

    #[test]
    fn what_is_open_can_be_reached_from_here() {
        let open = Open::here().unwrap();
        assert!(open.tcp.iter().any(|(what, _)| *what == "another port"));
        assert!(!open.heard());
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().send_to(b"x", open.udp_at).unwrap();
        assert!(open.heard());
    }
}
