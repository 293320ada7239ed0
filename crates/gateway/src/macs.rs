//! What an image is on Macs, found out wherever a worker can: a package without a wheel for a Mac is
//! told when the image is made and not when a call fails.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metal9_proto::worker as wire;
use metal9_types::{ImageId, ImageSpec, MacosVersion, Platform, SessionId, Target};

use crate::builds::BuildEvent;
use crate::error::ApiError;
use crate::shared::Shared;

/// How long a worker may resolve; a client waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Images whose reasons are remembered.
const REMEMBERED: usize = 1000;

/// Whether an image can be had on Macs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It can, and its lock is in the store.
    Resolved,
    /// It cannot, for this reason in one line.
    Impossible(String),
    /// Nobody could say; the Mac that it comes to will.
    Unknown,
}

/// Images that Macs cannot have, and why.
#[derive(Debug, Default)]
pub(crate) struct Impossible(Mutex<HashMap<(ImageId, Target), String>>);

impl Impossible {
    /// The reason, if the image is known to be one.
    pub(crate) fn reason(&self, image: &ImageId, target: Target) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(image.clone(), target)).cloned()
    }

    fn remember(&self, image: ImageId, target: Target, reason: String) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // It costs a second to find out again.
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert((image, target), reason);
    }

    /// Forgets an image: a client wants it to be looked at again.
    pub(crate) fn forget(&self, image: &ImageId) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(id, _), _| id != image);
    }
}

/// The macOS of a machine, by its platform and what it says its system is, as `macOS 26.4`; nothing
/// for one that is no Mac.
pub(crate) fn macos(platform: Platform, system: &str) -> Option<MacosVersion> {
    let said = || system.starts_with("macOS").then(|| system.parse().ok()).flatten();
    match platform {
        Platform::Aarch64Darwin => Some(said().unwrap_or(MacosVersion::DEFAULT)),
        // What pretends to be a Mac is treated as one.
        _ => said(),
    }
}

/// All Macs of a pool, or of any if none is named, that are connected; nothing if none is.
pub(crate) fn connected(shared: &Shared, pool: Option<&str>) -> Option<Target> {
    let connections = shared.fleet.connections().into_iter().map(|(_, connection)| connection);
    let asked = connections.filter(|connection| pool.is_none_or(|pool| connection.pool == pool));
    asked.filter_map(|connection| connection.macos).min().map(Target::mac)
}

/// Finds out whether Macs can have an image, which is in the store, and keeps its lock.
///
/// # Errors
///
/// If the store cannot be read or written.
pub(crate) async fn verdict(
    shared: &Shared,
    image: &ImageSpec,
    target: Target,
) -> Result<Verdict, ApiError> {
    let id = image.id();
    if has_lock(shared, &id, target).await? {
        return Ok(Verdict::Resolved);
    }
    if let Some(reason) = shared.impossible.reason(&id, target) {
        return Ok(Verdict::Impossible(reason));
    }
    let Some(session) = someone(shared, target) else { return Ok(Verdict::Unknown) };
    let resolved = tokio::time::timeout(PATIENCE, resolve_on(shared, session, image, target));
    let event = resolved.await.ok().flatten();
    match event {
        Some(BuildEvent::Built(lock)) if lock.fits(target) => {
            shared.store.put_lock(image, &lock).await?;
            Ok(Verdict::Resolved)
        }
        Some(BuildEvent::Failed { text, is_final: true }) => {
            shared.impossible.remember(id, target, text.clone());
            Ok(Verdict::Impossible(text))
        }
        other => {
            tracing::info!(image = %id, %target, ?other, "an image could not be resolved for Macs");
            Ok(Verdict::Unknown)
        }
    }
}

/// `true` if the image was resolved for all these Macs.
///
/// # Errors
///
/// If the store cannot be read.
pub(crate) async fn has_lock(
    shared: &Shared,
    image: &ImageId,
    target: Target,
) -> Result<bool, ApiError> {
    let lock = shared.store.lock(image, target.platform).await?;
    Ok(lock.is_some_and(|lock| lock.fits(target)))
}

/// Who resolves: a machine of the kind if there is one, else any.
fn someone(shared: &Shared, target: Target) -> Option<SessionId> {
    let connections = shared.fleet.connections();
    let same = connections.iter().find(|(_, other)| other.platform == target.platform);
    same.or_else(|| connections.first()).map(|(session, _)| *session)
}

/// The end of a worker's resolving; nothing if the worker was lost.
async fn resolve_on(
    shared: &Shared,
    session: SessionId,
    image: &ImageSpec,
    target: Target,
) -> Option<BuildEvent> {
    let build = shared.builds.begin(&shared.fleet, session, None);
    let message = wire::ResolveImage {
        build_id: build.id,
        image_spec: serde_json::to_string(image).unwrap_or_default(),
        platform: target.platform.to_string(),
        macos: target.macos.map(|macos| macos.to_string()).unwrap_or_default(),
    };
    let message = wire::gateway_message::Message::ResolveImage(message);
    shared.fleet.send(session, message.into());
    // The session may have ended between being found and being asked.
    if !shared.fleet.is_connected(session) {
        return None;
    }
    let mut build = build;
    loop {
        match build.events.recv().await? {
            BuildEvent::Progress(_) => {}
            BuildEvent::Lost => return None,
            end => return Some(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_has_the_macos_it_says_or_the_oldest_that_is_served() {
        let text = |platform, system| macos(platform, system).map(|macos| macos.to_string());
        assert_eq!(text(Platform::Aarch64Darwin, "macOS 26.4"), Some("26.4".into()));
        assert_eq!(text(Platform::Aarch64Darwin, ""), Some("14.0".into()));
        assert_eq!(text(Platform::Aarch64Darwin, "macOS ?"), Some("14.0".into()));
        assert_eq!(text(Platform::X86_64Linux, "Debian 12"), None);
        assert_eq!(text(Platform::X86_64Linux, "macOS 15.2 (simulated)"), Some("15.2".into()));
    }

    #[test]
    fn reasons_are_remembered_for_each_macos_until_someone_asks_again() {
        let impossible = Impossible::default();
        let (id, version) = (ImageId("a".into()), |text: &str| text.parse().unwrap());
        let (old, new) = (Target::mac(version("14.0")), Target::mac(version("26.0")));
        impossible.remember(id.clone(), old, "no wheel".into());
        assert_eq!(impossible.reason(&id, old), Some("no wheel".into()));
        assert_eq!(impossible.reason(&id, new), None);
        impossible.forget(&id);
        assert_eq!(impossible.reason(&id, old), None);
    }
}
