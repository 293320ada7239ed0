//! `metal9 dev`: everything on this machine, for trying things out.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use metal9_tasks::CancellationToken;

use crate::client::http::Http;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::output;
use crate::ready::Ready;
use crate::serving::{Claim, ReadyFile, Running, Serving, ended_early, finish};
use crate::settings::Settings;
use crate::signals::Signals;
use crate::talk::{self, Spinner};
use crate::worker_process::{self, WorkerProcess};

/// The options of `metal9 dev`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to keep everything [default: ~/.metal9/dev]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Where to serve the client API; port 0 takes a free one [default: 127.0.0.1:1993]
    #[arg(long, value_name = "ADDRESS")]
    grpc: Option<String>,
    /// Where to serve HTTP [default: 127.0.0.1:1994]
    #[arg(long, value_name = "ADDRESS")]
    http: Option<String>,
    /// A device for the worker to pretend to have, as M3-Max or H100; may be given more than once
    #[arg(long, value_name = "NAME", value_parser = super::devices::simulated)]
    simulate_device: Vec<String>,
}

/// Runs a gateway and a worker until it is asked to stop.
///
/// # Errors
///
/// If they cannot start, or stop by themselves.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let mut flags = Vec::new();
    let state = arguments.state.as_ref().map(|path| path.to_string_lossy().into_owned());
    for (name, value) in
        [("state_dir", &state), ("grpc", &arguments.grpc), ("http", &arguments.http)]
    {
        flags.extend(value.clone().map(|value| (("dev", name), value)));
    }
    let settings = context.settings(flags)?;
    context.start_log("warn")?;
    context::serve(Box::pin(serve(context, &settings, &arguments.simulate_device)))
}

async fn serve(
    context: &Context,
    settings: &Settings,
    simulated: &[String],
) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(Failure::ours)?;
    let dev = settings.dev().map_err(Failure::usage)?;
    let directory = absolute(&dev.state_dir)?;
    let mut options = settings.gateway().map_err(Failure::usage)?;
    options.state_dir = directory.join("gateway");
    options.grpc = dev.grpc;
    options.http = dev.http;
    // Nothing of this leaves the machine.
    options.tls = metal9_gateway::Tls::Off;
    (options.tls_cert, options.tls_key) = (None, None);
    // Nobody is misled who has said so on the same command line.
    options.allow_simulated_devices = true;
    let worker = settings.worker().map_err(Failure::usage)?;
    let pool = worker.pool;
    // The gateway's keys are beside the worker's state.
    let hidden = std::env::join_paths(worker.hidden.iter().chain([&directory]))
        .context("a directory of worker.hidden has a colon in its name")
        .map_err(Failure::usage)?;
    let hidden = hidden.to_string_lossy();

    let _claim = Claim::take(&directory)?;
    let ready_path = directory.join("dev.json");
    // One left by a kill would send clients to a gateway that is not there.
    let _ = std::fs::remove_file(&ready_path);
    let spinner = Spinner::start("starting the gateway");
    let serving = Serving::start(options, &directory).await?;
    let ready = serving.ready();
    let store = serving.store().clone();
    let shutdown = CancellationToken::new();
    let mut running = serving.run(shutdown.clone());

    spinner.now("starting the worker");
    let state = directory.join("worker");
    let mut worker = tokio::select! {
        ended = &mut running => return Err(ended_early(ended)),
        () = signals.next() => return stop(None, &shutdown, running, signals).await,
        joined = worker_process::join(&store, &state, &ready.grpc, &pool) => {
            joined.map_err(|failure| failure.context("the worker cannot join the gateway"))?;
            let log = Stdio::inherit();
            let variables = [("METAL9_WORKER_HIDDEN", &*hidden)];
            WorkerProcess::start(context, &state, &ready.grpc, simulated, &variables, log)?
        }
    };
    let http = Http::new(format!("http://{}", ready.http), Some(ready.token.clone()), None)?;
    tokio::select! {
        ended = &mut running => return Err(ended_early(ended)),
        failure = worker.ended() => return Err(failure),
        () = signals.next() => return stop(Some(worker), &shutdown, running, signals).await,
        connected = worker_process::connected(&http, true) => connected?,
    }
    drop(spinner);

    let file = ReadyFile::publish(ready_path, &ready)?;
    announce(&ready)?;
    tokio::select! {
        ended = &mut running => return Err(ended_early(ended)),
        failure = worker.ended() => return Err(failure),
        () = signals.next() => {}
    }
    drop(file);
    stop(Some(worker), &shutdown, running, signals).await
}

/// Jobs and the SDK are told these paths, and do not share our working directory.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(Failure::usage)
}

fn announce(ready: &Ready) -> Result<(), Failure> {
    talk::say(format_args!("metal9 is ready: gRPC on {}, HTTP on {}", ready.grpc, ready.http));
    talk::say("  run programs in another shell after:");
    output::print(format!("export CONFIG_PATH={}\n", quoted(&ready.config)).as_bytes())?;
    talk::say("  stop with Ctrl-C");
    Ok(())
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-".contains(character);
    if text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Stops the worker, then the gateway, which has heard how the jobs ended by then.
async fn stop(
    worker: Option<WorkerProcess>,
    shutdown: &CancellationToken,
    mut running: Running,
    mut signals: Signals,
) -> Result<(), Failure> {
    talk::say("stopping");
    let in_order = async {
        if let Some(worker) = worker {
            tokio::select! {
                () = worker.stop() => {}
                ended = &mut running => return Err(ended_early(ended)),
            }
        }
        shutdown.cancel();
        finish(&mut running).await
    };
    tokio::select! {
        ended = in_order => ended,
        // The second time, somebody is in a hurry; the worker dies with us.
        () = signals.next() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_where_a_shell_would_split_them() {
        assert_eq!(quoted(Path::new("/tmp/a-b/c.ini")), "/tmp/a-b/c.ini");
        assert_eq!(quoted(Path::new("/tmp/it's here")), r"'/tmp/it'\''s here'");
    }
}
