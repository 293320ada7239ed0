//! A gateway in this process, with the first token of its users.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use metal9_gateway::{Gateway, Options, RunError, StartError};
use metal9_store::{Store, StoreError, TokenKind};
use metal9_tasks::CancellationToken;
use metal9_tls::Certificates;

use crate::failure::Failure;
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
        let text = serde_json::to_string_pretty(ready).map_err(Failure::ours)? + "\n";
        private_file::write(&path, &text)
            .with_context(|| format!("cannot write `{}`", path.display()))
            .map_err(Failure::ours)?;
        Ok(Self { path })
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
            Failure::usage(anyhow!(error).context(what))
        };
        std::fs::create_dir_all(directory).map_err(cannot)?;
        let lock = File::create(directory.join("lock")).map_err(cannot)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(std::fs::TryLockError::Error(error)) => Err(cannot(error)),
            Err(std::fs::TryLockError::WouldBlock) => Err(in_use(directory)),
        }
    }
}

fn in_use(directory: &Path) -> Failure {
    let error = anyhow!("the state directory `{}` is in use", directory.display());
    Failure::usage(error).hint("stop the metal9 that uses it, or choose another with --state")
}

fn cannot_start(error: StartError) -> Failure {
    match &error {
        StartError::Bind { .. } => Failure::usage(error)
            .hint("another gateway may be running; choose other ports with --grpc and --http"),
        StartError::Store { source: StoreError::InUse { .. }, .. } => Failure::usage(error)
            .hint("stop the metal9 that uses it, or choose another with --state"),
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
        _ => Failure::ours(error),
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
        assert!(error.contains("is in use") && error.contains("hint:"), "{error}");
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
        let read: Ready = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert!(read == ready);
        drop(file);
        assert!(!path.exists());
    }
}
