//! Which gateway a command asks, and with which token.

mod ini;
mod sources;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use metal9_tls::{Address, Trust};

use crate::failure::Failure;
use crate::ready::Ready;
pub(crate) use ini::{DEFAULT_CONTEXT, Ini};
use sources::{Part, from_environment, merge};

/// The flags of commands that ask a gateway.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Connection")]
#[group(skip)]
pub(crate) struct Arguments {
    /// The gateway's gRPC address [default: $METAL9_GATEWAY, then the SDK's]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) gateway: Option<String>,
    /// The gateway's HTTP address [default: $METAL9_HTTP, then what the gateway says]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) http: Option<String>,
    /// The fingerprint of the gateway's key, for TLS with a certificate of its own
    /// [default: $METAL9_FINGERPRINT]
    #[arg(long, value_name = "SHA256")]
    pub(crate) fingerprint: Option<String>,
    /// The token [default: $METAL9_TOKEN, then the SDK's]
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) token: Option<String>,
    /// The state directory of a `metal9 dev` or `metal9 gateway` on this machine to ask
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// Where a gateway is, and who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Connection {
    /// gRPC as `host:port`.
    pub(crate) grpc: Option<String>,
    /// HTTP as `http://host:port`.
    pub(crate) http: Option<String>,
    pub(crate) token: Option<String>,
    /// The fingerprint of the gateway's key, if it is known by that.
    pub(crate) fingerprint: Option<String>,
}

/// What is to be found in the state directory of a running gateway.
const READY_FILES: [&str; 2] = ["dev.json", "gateway.json"];

impl Connection {
    /// Finds the gateway: flags, then the environment, then the SDK's configuration,
    /// then the usual state directories of this user.
    ///
    /// # Errors
    ///
    /// If a place that the user named has nothing, or no place has anything.
    pub(crate) fn find(arguments: &Arguments) -> Result<Self, Failure> {
        let mut parts = vec![Part {
            whole: false,
            grpc: arguments.gateway.clone(),
            http: arguments.http.as_deref().map(sources::base_url),
            token: arguments.token.clone(),
            fingerprint: arguments.fingerprint.clone(),
        }];
        if let Some(state) = &arguments.state {
            parts.push(from_state(state)?.ok_or_else(|| nothing_in(state))?);
        }
        parts.extend(from_environment(crate::environment::read));
        parts.extend(from_sdk_config()?);
        // What `metal9 dev` or `metal9 gateway` without flags has written, if it runs.
        let home = std::env::home_dir().unwrap_or_default();
        for state in [".metal9/dev", ".metal9/gateway"] {
            parts.extend(from_state(&home.join(state))?);
        }
        let connection = merge(parts);
        if connection.grpc.is_none() && connection.http.is_none() {
            return Err(Failure::usage(anyhow!("no gateway is configured")).hint(
                "start one with `metal9 dev`, or name one with --gateway and --token, \
                 --state or an SDK configuration file in $CONFIG_PATH",
            ));
        }
        Ok(connection)
    }

    /// How the gateway is known; nothing for plain text. The SDK speaks TLS to port 443, and so do
    /// we.
    ///
    /// # Errors
    ///
    /// If the fingerprint or the address is none.
    pub(crate) fn trust(&self) -> Result<Option<Trust>, Failure> {
        if let Some(fingerprint) = &self.fingerprint {
            return Ok(Some(Trust::Pinned(fingerprint.parse().map_err(Failure::usage)?)));
        }
        let grpc: Option<Address> =
            self.grpc.as_ref().map(|grpc| grpc.parse().map_err(Failure::usage)).transpose()?;
        let wanted = grpc.is_some_and(|it| it.tls.unwrap_or(it.port == 443))
            || self.http.as_ref().is_some_and(|http| http.starts_with("https://"));
        if !wanted {
            return Ok(None);
        }
        let roots = crate::environment::read(crate::environment::GRPC_ROOTS);
        Ok(Some(roots.map_or(Trust::System, |file| Trust::Roots(file.into()))))
    }
}

/// What a gateway has written into its state directory, if one runs there.
fn from_state(state: &Path) -> Result<Option<Part>, Failure> {
    for name in READY_FILES {
        let path = state.join(name);
        let Some(text) = read(&path)? else { continue };
        let ready: Ready = serde_json::from_str(&text)
            .with_context(|| format!("`{}` is not what a gateway writes", path.display()))
            .map_err(Failure::usage)?;
        let http = Some(sources::base_url(&ready.http));
        let token = Some(ready.token);
        let (grpc, fingerprint) = (Some(ready.grpc), ready.fingerprint);
        return Ok(Some(Part { whole: true, grpc, http, token, fingerprint }));
    }
    Ok(None)
}

fn nothing_in(state: &Path) -> Failure {
    let state = state.display();
    let failure = Failure::request(anyhow!("no gateway runs in `{state}`"));
    failure.hint(format!("start one with `metal9 dev --state {state}`"))
}

/// A file's text; nothing if there is no such file.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let error = anyhow!(error).context(format!("cannot read `{}`", path.display()));
            Err(Failure::usage(error))
        }
    }
}

fn from_sdk_config() -> Result<Option<Part>, Failure> {
    let home = std::env::home_dir().unwrap_or_default();
    let named = crate::environment::read(crate::environment::SDK_CONFIG);
    let path = match &named {
        Some(path) => path.strip_prefix("~/").map_or_else(|| path.into(), |rest| home.join(rest)),
        None => home.join(".beta9/config.ini"),
    };
    // The SDK does not mind a file that is not there either; it writes one itself.
    Ok(read(&path)?.and_then(|text| Part::from_ini(&Ini::parse(&text))))
}
