//! The daemon from start to end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use metal9_env::{EnvError, Environments};
use metal9_types::{Device, Machine, Offer, Platform, RootSource, Runtime};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::awake::{self, Keeper};
use crate::caches;
use crate::code::CodeCache;
use crate::container::{Makings, Tools, Workshop};
use crate::containment::Containment;
use crate::credential::Credential;
use crate::devices::{self, DevicesError, Found, Outfit};
use crate::dial::Dial;
use crate::errors::chain;
use crate::gateway::Gateway;
use crate::identity::{Identity, IdentityError};
use crate::interrupted::{Boot, Interruption};
use crate::machine;
use crate::manager::{Attendant, Manager};
use crate::options::Options;
use crate::paths::{Paths, PathsError};
use crate::relay::Relays;
use crate::roots::Roots;
use crate::runner::{Guard, IsolationError, Launcher};
use crate::runner_files::{self, RunnerFilesError};
use crate::session;
use crate::spares;
use crate::tunnel::Sockets;
use crate::volumes::blobs::Blobs;
use crate::volumes::own::OwnMount;

/// Events the manager can be behind with; those who have more wait.
const EVENTS: usize = 256;

/// How long the gateway may take to end the session of a worker that ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a worker could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// metal9 does not know this kind of machine.
    #[error("this machine is none that metal9 runs jobs on")]
    Platform,
    /// The state directory cannot be used.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// The worker has not joined, or its identity cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The runner's files cannot be written.
    #[error(transparent)]
    RunnerFiles(#[from] RunnerFilesError),
    /// There can be no environments.
    #[error("python environments cannot be made on this machine")]
    Environments(#[from] EnvError),
    /// What is to be simulated cannot be.
    #[error(transparent)]
    Devices(#[from] DevicesError),
    /// Jobs cannot be isolated as the settings want it.
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    /// Jobs could not be given a way to a gateway that speaks TLS.
    #[error("no port of this machine can be had for what jobs say to the gateway")]
    Relay(#[source] std::io::Error),
    /// The gateway's address or the credential cannot be used.
    #[error("the gateway `{address}` cannot be used")]
    Gateway {
        /// The address.
        address: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl RunError {
    /// Whether it was asked for something that could not be, rather than that something went wrong.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Identity(IdentityError::NotJoined(_)))
    }

    /// What the person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Identity(IdentityError::NotJoined(_)) => {
                let join = "join one first with `metal9 worker join`; `metal9 token join` on the gateway \
                            prints the whole command";
                Some(join.to_owned())
            }
            Self::Environments(error) => error.hint(),
            Self::Devices(error) => error.hint(),
            Self::Paths(PathsError::InUse { .. }) => Some(
                "stop the other worker; a second one on this machine joins with a --state of its \
                 own"
                .to_owned(),
            ),
            Self::Paths(PathsError::Directory { .. }) => Some(
                "choose a directory that this user may write to with --state, or make this one so"
                    .to_owned(),
            ),
            Self::Gateway { .. } => Some("write the address as HOST:PORT".to_owned()),
            _ => None,
        }
    }
}

/// Whoever jobs run as reads what is made for them, whatever mask a service manager has given the
/// worker. What is secret has modes of its own, and nobody may list the directory.
fn let_others_read(options: &Options) {
    if options.job_user.is_some() || options.runtime != Runtime::Native {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    }
}

/// Runs the worker until `shutdown`; then lets running calls go on for as long as the options say,
/// ends every container and returns.
///
/// A gateway that cannot be reached is no error: the worker keeps trying, and running jobs go on.
///
/// # Errors
/// The worker cannot begin: it has not joined, its state directory cannot be used or is in use, or
/// there is no way to make Python environments.
pub async fn run(options: Options, shutdown: CancellationToken) -> Result<(), RunError> {
    let platform = Platform::current().ok_or(RunError::Platform)?;
    let paths = Paths::new(&options.state_dir);
    let identity = Identity::read(&paths.identity())?;
    if !options.pool.is_empty() && options.pool != identity.pool {
        let (asked, joined) = (&options.pool, &identity.pool);
        tracing::warn!(asked, joined, "the worker has joined another pool, and stays in it");
    }
    let_others_read(&options);
    let (address, dial, gateway) = dial(&options, &identity)?;
    // Deleting what an earlier run has left can take a while.
    let (claimed, wanted, id) = (paths.clone(), options.clone(), identity.worker_id.clone());
    let claim = tokio::task::spawn_blocking(move || {
        let lock = claimed.claim()?;
        let boot = Boot::now();
        let interruption = Interruption::take(&claimed.running(), &boot);
        let runner_dir = runner_files::install(&claimed.runner())?;
        let record = claimed.cgroups();
        let containment = Containment::open(&wanted, &id, machine::capacity(&wanted), &record);
        Ok::<_, RunError>((lock, runner_dir, containment, boot, interruption))
    });
    let Ok(claimed) = claim.await else { return Ok(()) };
    let (_lock, runner_dir, containment, boot, interruption) = claimed?;
    tell(interruption.as_ref());
    let containment = Arc::new(containment);
    let opened = tokio::select! {
        opened = environments(&options, &paths, &runner_dir) => opened?,
        () = shutdown.cancelled() => return Ok(()),
    };

    let guard =
        Guard::find(&options, &identity.worker_id, paths.root(), &paths.containers()).await?;
    let isolation = guard.describe();

    let roots = roots(&options, &paths, &guard).await;
    let relays = match dial.trust() {
        Some(trust) => Some(Relays::open(trust.clone()).await.map_err(RunError::Relay)?),
        None => None,
    };
    let (path, age) = (paths.identity(), options.credential_age);
    let credential = Credential::new(path, identity.clone(), gateway.clone(), age);
    let fresh = credential.keep_fresh(shutdown.clone());
    metal9_tasks::spawn_infallible("keep the credential fresh", fresh);
    let (events, inbox) = mpsc::channel(EVENTS);
    let Some(found) = look(&options, &guard).await else { return Ok(()) };
    let Found { machine, equipment, gauge, platform: pretended, runtimes, withheld, look_again } =
        found?;
    let offer = Offer {
        machine,
        devices: equipment.devices.clone(),
        platform: pretended.unwrap_or(platform),
        root: roots.as_ref().map_or(RootSource::Host, Roots::source),
        allow_lists: guard.keeps_lists(),
        runtimes: runtimes.unwrap_or_else(|| vec![options.runtime]),
        ..offer(&options, &identity, platform, &opened)
    };
    let own_mount = own_mount(&options, &paths, guard.owner().is_some());
    let spares = spares::most(offer.capacity.memory_mib);
    let tools = Arc::new(Tools {
        workshop: Workshop::Real(Box::new(Makings {
            environments: opened,
            roots,
            blobs: Arc::new(Blobs::new(paths.volumes(), paths.temporary())),
            copy_volumes: options.copy_volumes,
            own_mount: Arc::clone(&own_mount),
            code: CodeCache::new(paths.code(), paths.temporary(), gateway.clone()),
            launcher: Launcher {
                shim: options.shim.clone(),
                runner_dir,
                containers: paths.containers(),
                events: events.clone(),
                spares: AtomicU64::new(0),
                containment: containment.clone(),
                guard,
            },
        })),
        gateway: gateway.clone(),
        hostname: offer.hostname.clone(),
        equipment: Outfit::new(equipment),
        containment: containment.clone(),
        sockets: Sockets::default(),
        workspaces: crate::workspace::Workspaces::default(),
        events: events.clone(),
    });
    tracing::info!(
        worker = identity.worker_id,
        pool = identity.pool,
        gateway = address,
        capacity = %offer.capacity,
        devices = ?offer.devices.iter().map(Device::name).collect::<Vec<_>>(),
        pythons = ?offer.pythons,
        "the worker is ready"
    );
    caches::start(Arc::clone(&tools), &options);
    let offer = offered(offer, (withheld, look_again), &tools, &options, &shutdown);
    // While calls go on that run, the session does.
    let ending = CancellationToken::new();
    let session = session::run(gateway, relays, offer, isolation, events, ending.clone());
    let mut session = metal9_tasks::spawn_infallible("session", session);
    let attendant = Attendant::new(keeper(&options), paths.running(), boot);
    let interruption = interruption.map(|it| it.to_string()).unwrap_or_default();
    let manager = Manager::new(tools, paths.outbox(), spares, gauge)
        .draining_for(options.drain, ending)
        .attended(attendant, interruption);
    Box::pin(manager.run(inbox, shutdown)).await;
    if tokio::time::timeout(FAREWELL, &mut session).await.is_err() {
        session.abort();
    }
    own_mount.stop().await;
    // Whoever is still there had all the time to end.
    let clean_up = move || {
        containment.close();
        paths.clear_running();
        paths.clear_containers();
    };
    let _ = tokio::task::spawn_blocking(clean_up).await;
    Ok(())
}

/// Tells what ended an earlier run while jobs ran, and what is found out of it later.
fn tell(interruption: Option<&Interruption>) {
    let Some(interruption) = interruption else { return };
    tracing::warn!(tasks = ?interruption.tasks, "{interruption}");
    let look_again = interruption.clone().look_again();
    metal9_tasks::spawn_infallible("look for the report of a panic", look_again);
}

/// What this machine has; nothing if the worker is ending.
async fn look(options: &Options, guard: &Guard) -> Option<Result<Found, DevicesError>> {
    let unseen = guard.no_gpu().map(str::to_owned);
    let found = devices::look(options, unseen, guard).await?;
    if let Ok(Found { machine, .. }) = &found {
        for note in &machine.notes {
            tracing::info!(note, "about this machine");
        }
    }
    Some(found)
}

/// What the worker offers, now and when a GPU can be used that is withheld.
fn offered(
    offer: Offer,
    (withheld, look_again): (bool, Option<Duration>),
    tools: &Arc<Tools>,
    options: &Options,
    shutdown: &CancellationToken,
) -> watch::Receiver<Offer> {
    // A Mac has one GPU; where another is offered, places would change that jobs hold.
    let withheld = withheld && offer.devices.is_empty();
    let (offering, offer) = watch::channel(offer);
    if withheld {
        let (tools, options, shutdown) = (Arc::clone(tools), options.clone(), shutdown.clone());
        let looking = devices::keep_looking(tools, options, look_again, offering, shutdown);
        metal9_tasks::spawn_infallible("look again for a gpu", looking);
    }
    offer
}

/// What makes root filesystems of containers, if there can be any.
async fn roots(options: &Options, paths: &Paths, guard: &Guard) -> Option<Roots> {
    let (shift, shim) = (guard.shift()?, &options.shim);
    let opened = Roots::open(&options.images, &paths.images(), shift, shim).await;
    opened
        .inspect_err(|error| {
            tracing::warn!(error = chain(error), "containers have no images for their files");
        })
        .ok()
}

/// What mounts the volumes' file system, if the gateway has one and jobs may get it.
fn own_mount(options: &Options, paths: &Paths, has_account: bool) -> Arc<OwnMount> {
    let unwanted = match (options.copy_volumes, has_account) {
        (true, _) => Some("jobs work on copies of volumes"),
        (_, true) => Some("jobs run as another user"),
        _ => None,
    };
    Arc::new(OwnMount::new(options.juicefs.clone(), paths.juicefs(), unwanted))
}

/// What keeps the machine awake while jobs run.
fn keeper(options: &Options) -> Keeper {
    let program = if options.keep_awake { awake::Program::of_this_system() } else { None };
    if options.keep_awake && program.is_none() {
        tracing::warn!("this machine has no program that keeps it awake while jobs run");
    }
    Keeper::new(program.map(|program| Box::new(program) as Box<dyn awake::Inhibitor>))
}

/// The gateway's address, how it is known, and a connection that is made when it is needed.
fn dial(options: &Options, identity: &Identity) -> Result<(String, Dial, Gateway), RunError> {
    let fingerprint = identity.fingerprint.as_deref();
    let (address, dial) = match options.gateway.as_str() {
        "" => (identity.gateway.clone(), Dial::new(&identity.gateway, fingerprint)),
        other => (other.to_owned(), Dial::redirected(other, &identity.gateway, fingerprint)),
    };
    let unusable = |source: Box<dyn std::error::Error + Send + Sync>| RunError::Gateway {
        address: address.clone(),
        source,
    };
    let dial = dial.map_err(|error| unusable(Box::new(error)))?;
    let gateway =
        Gateway::new(&dial, &identity.credential).map_err(|error| unusable(Box::new(error)))?;
    Ok((dial.address().to_string(), dial, gateway))
}

async fn environments(
    options: &Options,
    paths: &Paths,
    runner_dir: &std::path::Path,
) -> Result<Environments, EnvError> {
    let begun = Instant::now();
    tracing::info!("looking for uv and the pythons of this machine");
    let opened = Environments::open(metal9_env::Options {
        root: paths.environments(),
        uv: options.uv.clone(),
        python: options.python.clone(),
        // On a Mac they are frameworks, which lose the limit of memory, or none.
        install_pythons: cfg!(target_os = "macos"),
        runner_dir: PathBuf::from(runner_dir),
    })
    .await?;
    tracing::info!(pythons = ?opened.pythons(), took = ?begun.elapsed(), "environments are ready");
    Ok(opened)
}

fn offer(
    options: &Options,
    identity: &Identity,
    platform: Platform,
    environments: &Environments,
) -> Offer {
    Offer {
        hostname: machine::hostname(),
        pool: identity.pool.clone(),
        platform,
        capacity: machine::capacity(options),
        machine: Machine::default(),
        devices: Vec::new(),
        on_battery: options.on_battery,
        runtimes: Vec::new(),
        root: RootSource::Host,
        allow_lists: false,
        pythons: environments.pythons(),
        labels: BTreeMap::clone(&options.labels),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
