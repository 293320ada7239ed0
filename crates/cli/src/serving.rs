//! A gateway in this process, with the first token of its users.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use metal9_gateway::{Gateway, Options, RunError, StartError};
use metal9_store::{Store, StoreError, TokenKind};
use metal9_tasks::CancellationToken;
use metal9_tls::{Certificates, Reloads};

use crate::failure::Failure;
use crate::port_holder;
use crate::private_file;
use crate::ready::{self, Ready};

/// How long open connections may keep a stopping gateway.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A gateway that has its ports.
pub(crate) struct Serving {
    gateway: Gateway,
    token: String,
    config: PathBuf,
}

/// A running gateway.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<(), RunError>>>>;

impl Serving {
    /// Starts a gateway, and writes an SDK configuration file for it into `directory`.
    ///
    /// # Errors
    ///
    /// If the ports or the state cannot be had.
    pub(crate) async fn start(options: Options, directory: &Path) -> Result<Self, Failure> {
        let gateway = Box::pin(metal9_gateway::start(options)).await.map_err(cannot_start)?;
        let config = directory.join("config.ini");
        let token = token(gateway.store(), ready::token_of(&config))
            .await
            .context("cannot make a token")
            .map_err(Failure::ours)?;
        let serving = Self { gateway, token, config };
        let tls = serving.gateway.certificates().is_some();
        let text = ready::sdk_config(serving.grpc(), serving.http(), tls, &serving.token);
        private_file::write(&serving.config, &text)
            .with_context(|| format!("cannot write `{}`", serving.config.display()))
            .map_err(Failure::ours)?;
        Ok(serving)
    }

    /// Where this machine's clients reach gRPC.
    pub(crate) fn grpc(&self) -> SocketAddr {
        ready::local(self.gateway.grpc_addr())
    }

    /// Where this machine's clients reach HTTP.
    pub(crate) fn http(&self) -> SocketAddr {
        ready::local(self.gateway.http_addr())
    }

    /// What to tell those who want to reach it.
    pub(crate) fn ready(&self) -> Ready {
        let certificates = self.gateway.certificates();
        Ready {
            grpc: self.grpc().to_string(),
            http: self.http().to_string(),
            token: self.token.clone(),
            config: self.config.clone(),
            pid: std::process::id(),
            fingerprint: certificates.and_then(|own| own.fingerprint()).map(|it| it.to_string()),
            ca: certificates.and_then(Certificates::authority),
        }
    }

    /// What happens to the certificate it shows, if it speaks TLS.
    pub(crate) fn reloads(&self) -> Option<Reloads> {
        self.gateway.certificates().map(Certificates::reloads)
    }

    /// The gateway's state.
    pub(crate) fn store(&self) -> &Store {
        self.gateway.store()
    }

    /// Serves once it is polled, until `shutdown`.
    pub(crate) fn run(self, shutdown: CancellationToken) -> Running {
        Box::pin(self.gateway.run(shutdown))
    }
}

/// What the end of a gateway means that nobody has asked to end.
pub(crate) fn ended_early(ended: Result<(), RunError>) -> Failure {
    let failure = match ended {
        Ok(()) => Failure::ours(anyhow!("it was not asked to")),
        Err(error) => Failure::ours(error),
    };
    failure.context("the gateway stopped")
}

/// Waits for a gateway to end that has been asked to.
///
/// # Errors
///
/// If it fails while it ends.
pub(crate) async fn finish(running: &mut Running) -> Result<(), Failure> {
    match tokio::time::timeout(STOP_LIMIT, running).await {
        Ok(ended) => ended.map_err(Failure::ours),
        Err(_) => {
            tracing::warn!("connections are still open; stopping anyway");
            Ok(())
        }
    }
}

/// The file that says that a gateway is there; gone when dropped.
pub(crate) struct ReadyFile {
    path: PathBuf,
}

impl ReadyFile {
    /// Writes the file in one step.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(crate) fn publish(path: PathBuf, ready: &Ready) -> Result<Self, Failure> {
        let file = Self { path };
        file.update(ready)?;
        Ok(file)
    }

    /// Replaces what it says in one step.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(crate) fn update(&self, ready: &Ready) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(ready).map_err(Failure::ours)? + "\n";
        private_file::write(&self.path, &text)
            .with_context(|| format!("cannot write `{}`", self.path.display()))
            .map_err(Failure::ours)
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        // The next start replaces one that cannot be removed.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A directory that nobody else uses as long as this lives.
pub(crate) struct Claim {
    _lock: File,
}

impl Claim {
    /// Makes the directory if need be, and claims it.
    ///
    /// # Errors
    ///
    /// If it cannot be made, or is in use.
    pub(crate) fn take(directory: &Path) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| {
            let what = format!("cannot use the state directory `{}`", directory.display());
            Failure::usage(anyhow!(error).context(what)).hint(OTHER_DIRECTORY)
        };
        std::fs::create_dir_all(directory).map_err(cannot)?;
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let mut lock = options.open(directory.join("lock")).map_err(cannot)?;
        match lock.try_lock() {
            Ok(()) => {
                let pid = std::process::id().to_string();
                lock.set_len(0).and_then(|()| lock.write_all(pid.as_bytes())).map_err(cannot)?;
                Ok(Self { _lock: lock })
            }
            Err(std::fs::TryLockError::Error(error)) => Err(cannot(error)),
            Err(std::fs::TryLockError::WouldBlock) => Err(in_use(directory, &mut lock)),
        }
    }
}

/// What to do about a state directory that cannot be used.
const OTHER_DIRECTORY: &str =
    "choose a directory that this user may write to with --state, or make this one so";

fn in_use(directory: &Path, lock: &mut File) -> Failure {
    let mut pid = String::new();
    let by = match lock.take(20).read_to_string(&mut pid) {
        Ok(_) if !pid.trim().is_empty() => format!(" by process {}", pid.trim()),
        _ => String::new(),
    };
    let error = anyhow!("the state directory `{}` is in use{by}", directory.display());
    Failure::usage(error).hint("stop the metal9 that uses it, or choose another with --state")
}

fn cannot_start(error: StartError) -> Failure {
    match &error {
        StartError::Bind { address, source, .. } => {
            let hint = bind_hint(*address, source.kind());
            Failure::usage(error).hint(hint)
        }
        StartError::Store { source, .. } => match source {
            StoreError::InUse { .. } => Failure::usage(error)
                .hint("stop the metal9 that uses it, or choose another with --state"),
            StoreError::File { .. } => Failure::usage(error).hint(OTHER_DIRECTORY),
            StoreError::Newer { .. } => Failure::usage(error).hint(
                "run the newer metal9 again, or choose another directory with --state; this one \
                 is left as it is",
            ),
            StoreError::Full { .. } => {
                Failure::ours(error).hint("make room on the disk; nothing was lost")
            }
            _ => Failure::ours(error),
        },
        StartError::TlsSettings(_) => {
            Failure::usage(error).hint("give --tls self-signed, or both --tls-cert and --tls-key")
        }
        StartError::Tls(source) => {
            let hint = source.hint();
            let failure = Failure::usage(error);
            match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
        StartError::Volumes(_) => Failure::usage(error)
            .hint("choose another directory for volumes with the setting gateway.volumes_dir"),
        StartError::JuiceFs(source) => {
            let hint = source.hint();
            let failure = Failure::usage(error);
            match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
        StartError::VolumesTwice => {
            Failure::usage(error).hint("take one of the settings away; nothing was changed")
        }
        StartError::Recover(_) => Failure::ours(error),
    }
}

fn bind_hint(address: SocketAddr, kind: std::io::ErrorKind) -> String {
    let other = "choose other addresses with --grpc and --http";
    match kind {
        std::io::ErrorKind::AddrInUse => match port_holder::of(address) {
            Some(holder) => format!("{holder} listens there; stop it, or {other}"),
            None => format!("another program listens there; stop it, or {other}"),
        },
        std::io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no address {}; {other}, as 0.0.0.0:1993", address.ip())
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("ports below 1024 need rights that this user has not; {other}")
        }
        _ => other.to_owned(),
    }
}

/// A token that the gateway accepts: the one from last time, or a new one.
async fn token(store: &Store, last: Option<String>) -> Result<String, anyhow::Error> {
    if let Some(last) = last
        && store.authenticate(&last).await?.is_some()
    {
        return Ok(last);
    }
    if let Some(first) = store.bootstrap().await? {
        return Ok(first.token);
    }
    let (workspace, _) = store.default_workspace().await?.context("there is no workspace")?;
    let (_, token) = store.create_token(workspace, TokenKind::Workspace).await?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_claimed_once() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("state");
        let claim = Claim::take(&directory).unwrap();
        let error = Claim::take(&directory).err().unwrap().to_string();
        let by = format!("in use by process {}", std::process::id());
        assert!(error.contains(&by) && error.contains("hint:"), "{error}");
        drop(claim);
        assert!(Claim::take(&directory).is_ok());
    }

    #[test]
    fn the_ready_file_goes_with_its_gateway() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("dev.json");
        let ready = Ready {
            grpc: "127.0.0.1:1".into(),
            http: "127.0.0.1:2".into(),
            token: "t".into(),
            config: "/c".into(),
            pid: 7,
            fingerprint: None,
            ca: None,
        };
        let file = ReadyFile::publish(path.clone(), &ready).unwrap();
        let read = || {
            let text = std::fs::read_to_string(&path).unwrap();
            serde_json::from_str::<Ready>(&text).unwrap()
        };
        assert!(read() == ready);
        let renewed = Ready { fingerprint: Some("f".into()), ..ready };
        file.update(&renewed).unwrap();
        assert!(read() == renewed);
        drop(file);
        assert!(!path.exists());
    }
}
