//! `metal9 gateway`: a gateway by itself.

use std::path::PathBuf;

use metal9_tasks::CancellationToken;

use crate::context::{self, Context};
use crate::failure::Failure;
use crate::open_files;
use crate::serving::{ReadyFile, Serving, ended_early, finish};
use crate::signals::Signals;
use crate::talk;

/// The options of a gateway.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
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
}

/// Runs a gateway until it is asked to stop.
///
/// # Errors
///
/// If it cannot start, or stops by itself.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let mut flags = Vec::new();
    let state = arguments.state.as_ref().map(|path| path.to_string_lossy().into_owned());
    for (name, value) in [
        ("state_dir", &state),
        ("grpc", &arguments.grpc),
        ("http", &arguments.http),
        ("advertise_host", &arguments.advertise_host),
    ] {
        flags.extend(value.clone().map(|value| (("gateway", name), value)));
    }
    let options = context.settings(flags)?.gateway().map_err(Failure::usage)?;
    context.start_log("info")?;
    open_files::allow_many();
    context::serve(serve(options))
}

async fn serve(options: metal9_gateway::Options) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(Failure::ours)?;
    let directory = options.state_dir.clone();
    let serving = Serving::start(options, &directory).await?;
    let ready = serving.ready();
    let shutdown = CancellationToken::new();
    let mut running = serving.run(shutdown.clone());
    let file = ReadyFile::publish(directory.join("gateway.json"), &ready)?;
    talk::say(format_args!("the gateway serves gRPC on {} and HTTP on {}", ready.grpc, ready.http));
    talk::say(format_args!("  its first token is in {}", ready.config.display()));
    tokio::select! {
        ended = &mut running => return Err(ended_early(ended)),
        () = signals.next() => {}
    }
    drop(file);
    shutdown.cancel();
    tokio::select! {
        ended = finish(&mut running) => ended,
        // The second time, somebody is in a hurry.
        () = signals.next() => Ok(()),
    }
}
