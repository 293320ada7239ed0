//! Starting and stopping the gateway.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use metal9_juicefs::JuiceFsError;
use metal9_store::{Store, StoreError};
use metal9_tasks::{CancellationToken, OnError};
use metal9_tls::{Certificates, Listener, Protocol, TlsError};
use metal9_volume::VolumeError;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

use crate::admission::{Admission, Limits};
use crate::arguments::ArgumentCache;
use crate::builds::Builds;
use crate::disk::Disk;
use crate::doors::{self, Door, Proof};
use crate::driver::{self, Driver, DriverHandle};
use crate::endpoints::Endpoints;
use crate::ends::Ends;
use crate::fleet::Fleet;
use crate::floors::Floors;
use crate::hub::Hub;
use crate::intruders::{Intruders, JoinLimit};
use crate::job_token::Signer;
use crate::macs::Impossible;
use crate::options::Options;
use crate::rates::Rates;
use crate::revocations::Revocations;
use crate::scales::Scales;
use crate::serves::Serves;
use crate::shared::{Shared, SharedRef};
use crate::signals::Signals;
use crate::tls::{self, SettingsError};
use crate::uploads::Uploads;
use crate::volumes::{JuiceFs, Volumes};
use crate::{audit, deployed, grpc, http, metrics};

/// Bytes that every HTTP/2 connection begins with: the preface, and a frame of settings.
const HTTP2_GREETING: usize = 24 + 9;

/// The gateway could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory cannot be used.
    #[error("cannot open the state directory `{dir}`")]
    Store {
        /// The directory.
        dir: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// A port cannot be had.
    #[error("cannot listen on {address} for {what}")]
    Bind {
        /// `gRPC` or `HTTP`.
        what: &'static str,
        /// The address that was wanted.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The settings for TLS make no sense together.
    #[error("the settings for TLS cannot be used")]
    TlsSettings(#[source] SettingsError),
    /// The certificate cannot be used.
    #[error("TLS cannot be served")]
    Tls(#[source] TlsError),
    /// The volumes' directory cannot be used.
    #[error("cannot open the directory of volumes")]
    Volumes(#[source] VolumeError),
    /// The volumes' file system cannot be mounted.
    #[error("cannot mount the file system of volumes")]
    JuiceFs(#[source] JuiceFsError),
    /// Two places are named for the volumes.
    #[error("volumes are either in gateway.volumes_dir or on the file system of juicefs.metadata")]
    VolumesTwice,
    /// Unfinished work cannot be read back.
    #[error("cannot recover unfinished tasks")]
    Recover(#[source] StoreError),
}

/// The gateway stopped although nobody asked.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The gRPC server failed.
    #[error("the gRPC server failed")]
    Grpc(#[source] tonic::transport::Error),
}

/// A gateway that has its ports and its state, and does not serve yet.
pub struct Gateway {
    shared: SharedRef,
    driver: Driver,
    grpc: Listener,
    http: Listener,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("grpc", &self.shared.grpc_addr)
            .field("http", &self.shared.http_addr)
            .finish_non_exhaustive()
    }
}

async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let failed = |source| StartError::Bind { what, address, source };
    TcpListener::bind(address).await.map_err(failed)
}

/// Opens the state, takes the ports and hands unfinished work back to the scheduler.
///
/// # Errors
/// When the state directory is in use or unreadable, or a port is taken.
pub async fn start(options: Options) -> Result<Gateway, StartError> {
    if options.juicefs.metadata.is_some() && options.volumes_dir.is_some() {
        return Err(StartError::VolumesTwice);
    }
    // Ports first: a second gateway by mistake must not even touch the state.
    let grpc = bind("gRPC", options.grpc).await?;
    let http = bind("HTTP", options.http).await?;
    let address = |what, wanted, listener: &TcpListener| {
        listener.local_addr().map_err(|source| StartError::Bind { what, address: wanted, source })
    };
    let grpc_addr = address("gRPC", options.grpc, &grpc)?;
    let http_addr = address("HTTP", options.http, &http)?;
    let source = tls::source(&options, grpc_addr).map_err(StartError::TlsSettings)?;
    let store = Store::open(&options.state_dir).await.map_err(|source| StartError::Store {
        dir: options.state_dir.display().to_string(),
        source,
    })?;
    // After the store, which makes the directory private and keeps it for this process.
    let certificates = source.map(Certificates::load).transpose().map_err(StartError::Tls)?;
    let listener = |socket, protocol| {
        let config = certificates.as_ref().map(|own| own.server_config(protocol)).transpose();
        config.map(|config| Listener::new(socket, config)).map_err(StartError::Tls)
    };
    let (grpc, http) = (listener(grpc, Protocol::Http2)?, listener(http, Protocol::Http)?);
    tls::warn_of_plain_text(certificates.is_some(), [grpc_addr, http_addr]);
    let juicefs = JuiceFs::open(&options).await.map_err(StartError::JuiceFs)?;
    let root = juicefs.as_ref().map_or_else(|| options.volumes_dir(), |it| it.root().to_owned());
    let volumes = Volumes::open(root, juicefs).map_err(StartError::Volumes)?;
    let uploads = Uploads::open(options.state_dir.join("uploads"));
    let uploads = uploads.map_err(|source| StartError::Store {
        dir: options.state_dir.display().to_string(),
        source,
    })?;
    let (commands, receiver) = mpsc::channel(driver::QUEUE);
    let shared = Arc::new(Shared {
        hub: Hub::new(store.logs().clone()),
        signer: Signer::new(*store.signing_key()),
        driver: DriverHandle::new(commands),
        fleet: Fleet::default(),
        ends: Ends::default(),
        endpoints: Endpoints::default(),
        floors: Floors::default(),
        builds: Builds::default(),
        impossible: Impossible::default(),
        arguments: ArgumentCache::default(),
        admission: Admission::new(Limits::of(&options)),
        rates: Rates::default(),
        disk: Disk::new(
            options.state_dir.clone(),
            options.min_free_disk_mib,
            options.keep_ended_at_least(),
        ),
        revocations: Revocations::default(),
        signals: Signals::default(),
        volumes,
        uploads,
        intruders: Intruders::default(),
        joins: JoinLimit::default(),
        scales: Scales::default(),
        serves: Serves::default(),
        grpc_addr,
        http_addr,
        certificates,
        started: Instant::now(),
        shutdown: CancellationToken::new(),
        store,
        options,
    });
    metrics::recorder();
    for (stub, containers) in shared.store.scales().await.map_err(StartError::Recover)? {
        shared.scales.set(stub, Some(containers));
    }
    let mut driver = Driver::new(Arc::clone(&shared), receiver);
    let recovered = driver.recover().await.map_err(StartError::Recover)?;
    tracing::info!(%grpc_addr, %http_addr, recovered, epoch = shared.store.epoch(), "gateway started");
    Ok(Gateway { shared, driver, grpc, http })
}

impl Gateway {
    /// Where the client API listens.
    #[must_use]
    pub fn grpc_addr(&self) -> SocketAddr {
        self.shared.grpc_addr
    }

    /// Where HTTP listens.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.shared.http_addr
    }

    /// The certificate that both ports show; nothing if they speak plain text.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.shared.certificates.as_ref()
    }

    /// The state, for making first tokens.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The host that clients and workers reach this gateway at.
    #[must_use]
    pub fn advertised_host(&self) -> String {
        self.shared.advertised_host()
    }

    /// Serves until `shutdown`. Running jobs go on without the gateway.
    ///
    /// # Errors
    /// When a server fails.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let Self { shared, driver, grpc, http } = self;
        let stop = shared.shutdown.clone();
        metal9_tasks::spawn("scheduler", OnError::Shutdown(stop.clone()), {
            let stop = stop.clone();
            async move {
                driver.run(stop.clone()).await;
                if stop.is_cancelled() { Ok(()) } else { Err("the scheduler's queue closed") }
            }
        });
        metal9_tasks::spawn_infallible("forward shutdown", {
            let stop = stop.clone();
            async move {
                tokio::select! {
                    () = shutdown.cancelled() => stop.cancel(),
                    () = stop.cancelled() => {}
                }
            }
        });
        crate::retention::start(Arc::clone(&shared));
        crate::schedules::start(Arc::clone(&shared));
        metal9_tasks::spawn_infallible("metrics", metrics::keep_up(stop.clone()));
        metal9_tasks::spawn_infallible("endpoints", crate::endpoints::run(Arc::clone(&shared)));
        metal9_tasks::spawn_infallible("kept containers", crate::floors::run(Arc::clone(&shared)));
        if let Err(error) = deployed::keep_containers(&shared).await {
            tracing::error!(%error, "cannot keep containers of deployments");
        }
        metal9_tasks::spawn_infallible("audit log", audit::keep(Arc::clone(&shared)));
        if let Some(certificates) = &shared.certificates {
            let watching = tls::keep_current(certificates.clone(), stop.clone());
            metal9_tasks::spawn("watch certificates", OnError::Log, watching);
        }
        let most = doors::raise_limit(shared.options.max_connections);
        let room = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        let (greeting, bytes) = (doors::GREETING, HTTP2_GREETING);
        let grpc = Door::new(grpc, Arc::clone(&room), greeting, Proof::Bytes(bytes));
        let http = Door::new(http, room, greeting, Proof::BytesOrAnswer(bytes));
        let grpc = grpc::serve(Arc::clone(&shared), grpc, stop.clone());
        let http = http::serve(Arc::clone(&shared), http, stop.clone());
        let (grpc, ()) = tokio::join!(
            async {
                let ended = grpc.await;
                stop.cancel();
                ended
            },
            async {
                http.await;
                stop.cancel();
            },
        );
        if let Some(juicefs) = shared.volumes.juicefs() {
            juicefs.close().await;
        }
        shared.store.close().await;
        grpc.map_err(RunError::Grpc)
    }
}
