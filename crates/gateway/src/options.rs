//! The gateway's settings.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use metal9_juicefs::Settings as JuiceFs;
use metal9_store::Quota;
use serde::{Deserialize, Serialize};

/// Whether the ports speak TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// With the certificate in files if there is one, else plain text.
    #[default]
    Auto,
    /// Plain text.
    Off,
    /// With a certificate that the gateway makes and signs itself.
    SelfSigned,
}

/// The gateway's settings. Defaults are those of [`Options::new`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Where the state is kept; made if missing.
    pub state_dir: PathBuf,
    /// Where volumes are kept; nothing for a directory below the state's.
    pub volumes_dir: Option<PathBuf>,
    /// Where the client API and the worker protocol listen. Port 0 takes a free one.
    pub grpc: SocketAddr,
    /// Where HTTP listens. Port 0 takes a free one.
    pub http: SocketAddr,
    /// The host that clients and workers are told to reach this gateway at; nothing for the
    /// address it listens on.
    pub advertise_host: Option<String>,
    /// Whether both ports speak TLS.
    pub tls: Tls,
    /// The certificate in PEM format, with those between it and a root behind it.
    pub tls_cert: Option<PathBuf>,
    /// The certificate's key in PEM format.
    pub tls_key: Option<PathBuf>,
    /// Names and addresses that a self-signed certificate is for besides those of this machine,
    /// separated by commas.
    pub tls_names: Option<String>,
    /// Days for which the audit log is kept.
    pub audit_days: u64,
    /// Lines of the audit log that are kept at most of each workspace, of what the gateway did and of
    /// what strangers tried.
    pub audit_rows: u64,
    /// Seconds an idle function container is kept for the next call.
    pub keep_warm_seconds: f32,
    /// Seconds a task whose client vanished goes on before it is cancelled. The SDK tries to come
    /// back for 120 s.
    pub client_grace_seconds: u64,
    /// Seconds for which `beta9 serve` without a `--timeout` keeps a container that nobody looks at.
    pub serve_timeout_seconds: u64,
    /// Seconds of silence after which a worker gets nothing new.
    pub worker_suspect_seconds: f32,
    /// Seconds of silence after which a worker is lost and its tasks are retried.
    pub worker_lost_seconds: f32,
    /// Seconds an image build waits for a worker to connect.
    pub build_wait_seconds: u64,
    /// Days that ended tasks, their results and their output are kept.
    pub keep_ended_days: f64,
    /// Room for ended tasks with their results and output, in MiB: when they take more, the oldest of
    /// the workspace that holds the most go.
    pub keep_ended_mib: u64,
    /// Seconds that an ended task is kept however little room there is: its client may be about to
    /// come back for the result.
    pub keep_ended_at_least_seconds: u64,
    /// Days after which stubs without tasks and code archives that nobody has asked for are removed.
    pub keep_unused_days: f64,
    /// Calls of one workspace that have not ended.
    pub max_tasks_per_workspace: u64,
    /// MiB of arguments of such calls.
    pub max_argument_mib_per_workspace: u64,
    /// Streams of one workspace that are open: calls that are waited for, logs that are followed.
    pub max_streams_per_workspace: u64,
    /// Entries of maps, items of queues and signals of one workspace.
    pub max_values_per_workspace: u64,
    /// MiB of them.
    pub max_value_mib_per_workspace: u64,
    /// Stubs of one workspace.
    pub max_stubs_per_workspace: u64,
    /// MiB of their configurations.
    pub max_stub_mib_per_workspace: u64,
    /// Connections on both ports together.
    pub max_connections: usize,
    /// Whether workers may offer devices that only pretend to be there.
    pub allow_simulated_devices: bool,
    /// Pools whose functions run in gVisor and nothing else, separated by commas.
    pub untrusted_pools: Option<String>,
    /// Whether the SDK sends code over HTTP: in parts, and after the first time only what has
    /// changed.
    pub http_uploads: bool,
    /// MiB of the state's disk below which nothing new is accepted; 0 to accept until it is full.
    pub min_free_disk_mib: u64,
    /// The JuiceFS file system that volumes are kept on; a section of its own in settings.
    #[serde(skip)]
    pub juicefs: JuiceFs,
}

impl Options {
    /// The defaults, for this state directory.
    #[must_use]
    pub fn new(state_dir: PathBuf) -> Self {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            state_dir,
            volumes_dir: None,
            grpc: SocketAddr::new(local, 1993),
            http: SocketAddr::new(local, 1994),
            advertise_host: None,
            tls: Tls::Auto,
            tls_cert: None,
            tls_key: None,
            tls_names: None,
            audit_days: 90,
            audit_rows: 100_000,
            keep_warm_seconds: 10.0,
            client_grace_seconds: 120,
            serve_timeout_seconds: 600,
            worker_suspect_seconds: 5.0,
            worker_lost_seconds: 15.0,
            build_wait_seconds: 60,
            keep_ended_days: 30.0,
            keep_ended_mib: 10 * 1024,
            keep_ended_at_least_seconds: 600,
            keep_unused_days: 90.0,
            // A task that waits takes about 2 KB of memory.
            max_tasks_per_workspace: 250_000,
            max_argument_mib_per_workspace: 8192,
            max_streams_per_workspace: 20_000,
            max_values_per_workspace: 1_000_000,
            max_value_mib_per_workspace: 4096,
            max_stubs_per_workspace: 100_000,
            max_stub_mib_per_workspace: 1024,
            max_connections: 16_384,
            allow_simulated_devices: false,
            untrusted_pools: None,
            http_uploads: false,
            min_free_disk_mib: 512,
            juicefs: JuiceFs::default(),
        }
    }

    /// Whether functions of this pool run in gVisor and nothing else.
    pub(crate) fn is_untrusted(&self, pool: &str) -> bool {
        self.untrusted_pools().any(|it| it == pool)
    }

    /// Those pools.
    pub(crate) fn untrusted_pools(&self) -> impl Iterator<Item = &str> {
        metal9_types::names(self.untrusted_pools.as_deref().unwrap_or_default())
    }

    /// Where volumes are kept.
    pub(crate) fn volumes_dir(&self) -> PathBuf {
        self.volumes_dir.clone().unwrap_or_else(|| self.state_dir.join("volumes"))
    }

    /// What a workspace may hold in maps, queues and signals.
    pub(crate) fn value_quota(&self) -> Quota {
        Quota {
            entries: self.max_values_per_workspace,
            bytes: self.max_value_mib_per_workspace.saturating_mul(1024 * 1024),
        }
    }

    /// What a workspace may have of stubs.
    pub(crate) fn stub_quota(&self) -> Quota {
        Quota {
            entries: self.max_stubs_per_workspace,
            bytes: self.max_stub_mib_per_workspace.saturating_mul(1024 * 1024),
        }
    }

    /// How long ended tasks are kept.
    pub(crate) fn keep_ended(&self) -> Duration {
        days(self.keep_ended_days)
    }

    /// How long they are kept however little room there is.
    pub(crate) fn keep_ended_at_least(&self) -> Duration {
        Duration::from_secs(self.keep_ended_at_least_seconds)
    }

    /// How long what nobody asks for is kept.
    pub(crate) fn keep_unused(&self) -> Duration {
        days(self.keep_unused_days)
    }

    /// How often a worker must say something: three chances before it is suspect.
    pub(crate) fn heartbeat(&self) -> Duration {
        Duration::from_secs_f32((self.worker_suspect_seconds / 3.0).clamp(0.1, 1.0))
    }
}

/// Days as a duration; what is no duration keeps everything, for a century.
fn days(days: f64) -> Duration {
    const DAY: f64 = 86_400.0;
    let century = 36_525.0 * DAY;
    let seconds = days * DAY;
    Duration::from_secs_f64(if seconds >= 0.0 { seconds.min(century) } else { century })
}
