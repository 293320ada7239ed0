//! What a gateway needs.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use metal9_gateway::{Options, Tls};
use metal9_juicefs::{Access, Role};
use metal9_tls::Trust;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::disk;
use crate::client::http::Http;
use crate::doctor::facts::{Door, GatewayFacts};
use crate::port_holder;
use crate::ready::Ready;

/// Looks at the gateway of this machine; nothing if none has ever run here.
pub(super) fn look(options: &Options) -> Option<GatewayFacts> {
    let state = &options.state_dir;
    if !state.join("state.db").exists() {
        return None;
    }
    let ready = ready(state);
    let running = ready.as_ref().map(|ready| ready.pid);
    let door = |name, address| Door {
        name,
        address,
        taken: if running.is_some() { None } else { taken(address) },
    };
    Some(GatewayFacts {
        state: disk::look(state),
        min_free_mib: options.min_free_disk_mib,
        key_is_open: is_open(&state.join("secret.key")),
        tls: options.tls != Tls::Off || options.tls_cert.is_some(),
        doors: vec![door("grpc port", options.grpc), door("http port", options.http)],
        running,
        juicefs: juicefs(options),
        health: ready.as_ref().map(health),
    })
}

/// What a gateway has written about itself, if it still runs.
fn ready(state: &Path) -> Option<Ready> {
    let text = std::fs::read_to_string(state.join("gateway.json")).ok()?;
    let ready: Ready = serde_json::from_str(&text).ok()?;
    let pid = i32::try_from(ready.pid).ok()?;
    kill(Pid::from_raw(pid), None).is_ok().then_some(ready)
}

fn juicefs(options: &Options) -> Option<Result<String, String>> {
    let settings = &options.juicefs;
    let access = Access::parse(settings.metadata.as_ref()?);
    Some(match metal9_juicefs::obstacle(settings.program.as_deref(), Role::Keeper) {
        Some(obstacle) => Err(obstacle),
        None => access.map(|it| it.url().to_owned()).map_err(|error| error.to_string()),
    })
}

fn is_open(key: &Path) -> bool {
    std::fs::metadata(key).is_ok_and(|key| key.permissions().mode() & 0o077 != 0)
}

fn taken(address: SocketAddr) -> Option<String> {
    let error = TcpListener::bind(address).err()?;
    Some(match port_holder::of(address) {
        Some(holder) => format!("{holder} listens there"),
        None => error.to_string(),
    })
}

fn health(ready: &Ready) -> Result<(), String> {
    let fingerprint = ready.fingerprint.as_ref().map(|it| it.parse().map(Trust::Pinned));
    let trust = fingerprint.transpose().map_err(|_| "its fingerprint is none".to_owned())?;
    let scheme = if trust.is_some() { "https" } else { "http" };
    let base = format!("{scheme}://{}", ready.http);
    let http = Http::new(base, Some(ready.token.clone()), trust.as_ref());
    let one_line = |failure: crate::failure::Failure| {
        failure.to_string().lines().next().unwrap_or_default().replacen("error: ", "", 1)
    };
    http.and_then(|http| http.get("/api/v1/status")).map(drop).map_err(one_line)
}
