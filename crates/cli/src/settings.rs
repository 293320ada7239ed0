//! Settings of `dev`, `gateway` and `worker`: defaults, then the file, then the environment, then
//! flags; each value knows where it is from.

mod dump;
mod error;
mod keys;
mod sources;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::environment;
pub(crate) use error::SettingsError;
use keys::{KEYS, Key};
use sources::Sources;

/// Values of flags, as `("gateway", "grpc")` to what was written.
pub(crate) type Flags = Vec<((&'static str, &'static str), String)>;

/// Where a value is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File(PathBuf),
    Environment(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "${name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One setting's value.
#[derive(Clone, PartialEq)]
struct Setting {
    value: toml::Value,
    origin: Origin,
}

/// Without the value, which may be secret.
impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// All settings, merged.
#[derive(Debug)]
pub(crate) struct Settings {
    values: BTreeMap<(&'static str, &'static str), Setting>,
}

/// `[worker]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkerSettings {
    pub(crate) state_dir: PathBuf,
    #[serde(default)]
    pub(crate) gateway: String,
    #[serde(default)]
    pub(crate) pool: String,
    pub(crate) cpu: Option<f64>,
    pub(crate) memory_mib: Option<u64>,
    pub(crate) cache_mib: Option<u64>,
    pub(crate) cache_check_seconds: Option<u64>,
    pub(crate) uv: Option<PathBuf>,
    pub(crate) python: Option<String>,
    pub(crate) drain_seconds: Option<f64>,
    pub(crate) copy_volumes: Option<bool>,
    pub(crate) keep_awake: Option<bool>,
    pub(crate) gpu_slots: Option<u32>,
    pub(crate) on_battery: String,
    #[serde(default)]
    pub(crate) simulate_devices: String,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) cgroups: Option<bool>,
    pub(crate) pids: Option<u64>,
    pub(crate) cpu_limit_percent: Option<u64>,
    pub(crate) runtime: String,
    pub(crate) isolation: String,
    pub(crate) network: String,
    pub(crate) job_user: Option<String>,
    #[serde(default)]
    pub(crate) readable: Vec<PathBuf>,
    #[serde(default)]
    pub(crate) writable: Vec<PathBuf>,
    #[serde(default)]
    pub(crate) hidden: Vec<PathBuf>,
    #[serde(default)]
    pub(crate) cdi_dirs: Vec<PathBuf>,
    pub(crate) credential_hours: Option<u64>,
}

/// `[dev]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DevSettings {
    pub(crate) state_dir: PathBuf,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Settings {
    /// Reads all sources. `file` is one that the user named; the usual one need not be there.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or a source has a key or value that makes no sense.
    pub(crate) fn load(file: Option<&Path>, flags: Flags) -> Result<Self, SettingsError> {
        Self::load_at(&std::env::home_dir().unwrap_or_default(), file, flags)
    }

    /// The same for the user whose home this is.
    ///
    /// # Errors
    ///
    /// See [`Settings::load`].
    pub(crate) fn load_at(
        home: &Path,
        file: Option<&Path>,
        flags: Flags,
    ) -> Result<Self, SettingsError> {
        let (file, home) = (read_file(file, home)?, home.to_owned());
        Sources { file, environment: environment::all(), flags, home }.merge()
    }

    /// `[gateway]`.
    ///
    /// # Errors
    ///
    /// If the values do not fit together.
    pub(crate) fn gateway(&self) -> Result<metal9_gateway::Options, SettingsError> {
        let options: metal9_gateway::Options = self.section("gateway")?;
        Ok(metal9_gateway::Options { juicefs: self.juicefs()?, ..options })
    }

    /// `[juicefs]`, which gateways and workers read.
    ///
    /// # Errors
    ///
    /// If the values do not fit together.
    pub(crate) fn juicefs(&self) -> Result<metal9_juicefs::Settings, SettingsError> {
        self.section("juicefs")
    }

    /// `[images]`, which workers read.
    ///
    /// # Errors
    ///
    /// If the values do not fit together.
    pub(crate) fn images(&self) -> Result<metal9_worker::ImageSettings, SettingsError> {
        self.section("images")
    }

    /// `[worker]`.
    ///
    /// # Errors
    ///
    /// If the values do not fit together.
    pub(crate) fn worker(&self) -> Result<WorkerSettings, SettingsError> {
        self.section("worker")
    }

    /// `[dev]`.
    ///
    /// # Errors
    ///
    /// If the values do not fit together.
    pub(crate) fn dev(&self) -> Result<DevSettings, SettingsError> {
        self.section("dev")
    }

    fn section<T: for<'a> Deserialize<'a>>(&self, name: &'static str) -> Result<T, SettingsError> {
        let mut table = toml::Table::new();
        for key in KEYS.iter().filter(|key| key.section == name) {
            if let Some(setting) = self.get(key) {
                table.insert(key.name.to_owned(), setting.value.clone());
            }
        }
        let section = table.try_into();
        section.map_err(|source| SettingsError::Section { name, source: Box::new(source) })
    }

    fn get(&self, key: &Key) -> Option<&Setting> {
        self.values.get(&(key.section, key.name))
    }
}

fn read_file(
    named: Option<&Path>,
    home: &Path,
) -> Result<Option<(PathBuf, String)>, SettingsError> {
    let named = named.map(Path::to_owned).or_else(|| {
        let path = environment::read(environment::CONFIG)?;
        Some(PathBuf::from(path))
    });
    let optional = named.is_none();
    let path = named.unwrap_or_else(|| home.join(".config/metal9/config.toml"));
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if optional && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SettingsError::Read { path, source }),
    }
}
