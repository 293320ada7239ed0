//! `metal9 gateway`: a gateway by itself.

use std::path::{Path, PathBuf};

use metal9_store::{Store, StoreError};
use metal9_tasks::CancellationToken;
use metal9_tls::{Fingerprint, Reloads};

use crate::context::{self, Context};
use crate::failure::Failure;
use crate::open_files;
use crate::serving::{ReadyFile, Serving, ended_early, finish};
use crate::signals::Signals;
use crate::talk;

/// The options of a gateway.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where the gateway keeps its state [default: ~/.metal9/gateway]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Where to serve the client API and workers; port 0 takes a free one [default: 127.0.0.1:1993]
    #[arg(long, value_name = "ADDRESS")]
    grpc: Option<String>,
    /// Where to serve HTTP [default: 127.0.0.1:1994]
    #[arg(long, value_name = "ADDRESS")]
    http: Option<String>,
    /// The host that clients and workers are told to reach this gateway at
    #[arg(long, value_name = "HOST")]
    advertise_host: Option<String>,
    /// Serve TLS with a certificate of the gateway's own: `self-signed`; `off` for plain text
    #[arg(long, value_name = "MODE")]
    tls: Option<String>,
    /// Serve TLS with the certificate in this PEM file; read again when it changes
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// A further name or address for the gateway's own certificate; may be given more than once
    #[arg(long, value_name = "HOST")]
    tls_name: Vec<String>,
    /// Accept workers that only pretend to have their devices, for trying things out
    #[arg(long)]
    allow_simulated_devices: bool,
}

/// What to do with a gateway's state, other than to serve it.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a new key and encrypt every secret with it; the gateway must not run
    RotateKey {
        /// Where the gateway keeps its state [default: ~/.metal9/gateway]
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
    },
}

/// Runs a gateway until it is asked to stop.
///
/// # Errors
///
/// If it cannot start, or stops by itself.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    if let Some(Command::RotateKey { state }) = &arguments.command {
        return rotate_key(context, state.as_deref());
    }
    let mut flags = Vec::new();
    let text = |path: &Option<PathBuf>| path.as_ref().map(|it| it.to_string_lossy().into_owned());
    let (state, cert, key) =
        (text(&arguments.state), text(&arguments.tls_cert), text(&arguments.tls_key));
    let simulated = arguments.allow_simulated_devices.then(|| "true".to_owned());
    let names = (!arguments.tls_name.is_empty()).then(|| arguments.tls_name.join(","));
    for (name, value) in [
        ("state_dir", &state),
        ("grpc", &arguments.grpc),
        ("http", &arguments.http),
        ("advertise_host", &arguments.advertise_host),
        ("tls", &arguments.tls),
        ("tls_cert", &cert),
        ("tls_key", &key),
        ("tls_names", &names),
        ("allow_simulated_devices", &simulated),
    ] {
        flags.extend(value.clone().map(|value| (("gateway", name), value)));
    }
    let options = context.settings(flags)?.gateway().map_err(Failure::usage)?;
    out_of_sight(&options.state_dir)?;
    context.start_log("info")?;
    open_files::allow_many();
    context::serve(serve(options))
}

/// Refuses a place that the jobs of a worker on this machine would read keys from.
fn out_of_sight(state: &Path) -> Result<(), Failure> {
    let state = std::path::absolute(state).map_err(Failure::usage)?;
    match metal9_sandbox::among_programs(&metal9_sandbox::RealMachine, &state) {
        Some(programs) if cfg!(target_os = "linux") => {
            let what = anyhow::anyhow!(
                "the gateway's state cannot be in `{}`: jobs on this machine read all of {programs}",
                state.display()
            );
            let hint = "choose a directory elsewhere, as /var/lib/metal9/gateway; one that is \
                        there can be moved while the gateway is stopped";
            Err(Failure::usage(what).hint(hint))
        }
        _ => Ok(()),
    }
}

/// Replaces the key while nobody uses the state.
fn rotate_key(context: &Context, state: Option<&Path>) -> Result<(), Failure> {
    let state = state.map(|path| (("gateway", "state_dir"), path.to_string_lossy().into_owned()));
    let options = context.settings(state.into_iter().collect())?.gateway();
    let directory = options.map_err(Failure::usage)?.state_dir;
    context.start_log("warn")?;
    let count = context::ask(async {
        Store::rotate_key(&directory).await.map_err(|error| {
            let failure = match &error {
                StoreError::InUse { .. } => {
                    Failure::request(error).hint("stop the gateway, and start it again afterwards")
                }
                _ => Failure::request(error),
            };
            failure.context("cannot replace the key; the old one stays")
        })
    })?;
    let value = serde_json::json!({ "secrets": count });
    context.output.show(&value, || format!("replaced the key; secrets encrypted anew: {count}\n"))
}

async fn serve(options: metal9_gateway::Options) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(Failure::ours)?;
    let directory = options.state_dir.clone();
    let serving = Serving::start(options, &directory).await?;
    let mut ready = serving.ready();
    let mut reloads = serving.reloads();
    let shutdown = CancellationToken::new();
    let mut running = serving.run(shutdown.clone());
    let file = ReadyFile::publish(directory.join("gateway.json"), &ready)?;
    talk::say(format_args!("the gateway serves gRPC on {} and HTTP on {}", ready.grpc, ready.http));
    talk::say(format_args!("  its first token is in {}", ready.config.display()));
    if let Some(ca) = &ready.ca {
        let ca = ca.display();
        talk::say(format_args!("  it speaks TLS, on port 443 to the SDK too, which needs:"));
        talk::say(format_args!("    export GRPC_DEFAULT_SSL_ROOTS_FILE_PATH={ca}"));
        talk::say(format_args!("    export REQUESTS_CA_BUNDLE={ca}"));
    }
    loop {
        tokio::select! {
            ended = &mut running => return Err(ended_early(ended)),
            () = signals.next() => break,
            fingerprint = next(reloads.as_mut()) => {
                // Commands on this machine know the gateway by its key.
                ready.fingerprint = fingerprint.map(|it| it.to_string());
                if let Err(error) = file.update(&ready) {
                    tracing::warn!(%error, "commands on this machine will not know the new key");
                }
            }
        }
    }
    drop(file);
    shutdown.cancel();
    tokio::select! {
        ended = finish(&mut running) => ended,
        // The second time, somebody is in a hurry.
        () = signals.next() => Ok(()),
    }
}

/// The fingerprint of the next certificate; waits for ever if there is none.
async fn next(reloads: Option<&mut Reloads>) -> Option<Fingerprint> {
    match reloads {
        Some(reloads) => reloads.next().await,
        None => std::future::pending().await,
    }
}
