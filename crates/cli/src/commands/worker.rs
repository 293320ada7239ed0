//! `metal9 worker`: being one, and what is to become of those of a gateway.

pub(crate) mod service;
mod standing;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use metal9_tasks::CancellationToken;
use metal9_worker::{JoinOptions, Joined, Options};
use serde_json::json;

use crate::client;
use crate::connection;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::output;
use crate::settings::{Flags, WorkerSettings};
use crate::signals::Signals;
use crate::talk::Spinner;

/// How long running calls may go on after SIGTERM where nobody says.
pub(crate) const DRAIN_SECONDS: f64 = 10.0;

/// How old a worker's credential gets: a week.
const CREDENTIAL_HOURS: u64 = 7 * 24;

/// What to do with workers.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make this machine a worker of a gateway
    ///
    /// The token is one that `metal9 token join` prints.
    Join(Join),
    /// Run the jobs of the gateway that was joined
    Run(Box<Run>),
    #[command(flatten)]
    Service(service::Command),
    /// Give a worker nothing new; what runs on it goes on
    ///
    /// Holds until `metal9 worker uncordon`, whatever is restarted meanwhile.
    Cordon(standing::One),
    /// Give a worker work again
    Uncordon(standing::One),
    /// Empty a worker: nothing new, and what still runs at the deadline is made elsewhere
    ///
    /// It gets work again with `metal9 worker uncordon`.
    Drain(standing::Drain),
    /// List the workers that have joined a gateway
    List {
        #[command(flatten)]
        connection: connection::Arguments,
    },
    /// Give a worker a new credential; jobs go on
    Rotate(Named),
    /// Shut a worker out: it is cut off at once, and others get its tasks
    Revoke(Named),
    /// Shut a worker out and forget it
    Remove(Named),
}

/// A worker of a gateway.
#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// The worker's id
    id: String,
    #[command(flatten)]
    connection: connection::Arguments,
}

/// The options of joining.
#[derive(Debug, clap::Args)]
pub(crate) struct Join {
    /// The gateway's gRPC address; with https:// if its certificate is one that this system trusts
    #[arg(value_name = "HOST:PORT")]
    gateway: String,
    /// The fingerprint of the gateway's key, for TLS with a certificate of its own
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<String>,
    /// The join token
    #[arg(long, allow_hyphen_values = true)]
    token: String,
    /// The pool to join [default: the token's]
    #[arg(long)]
    pool: Option<String>,
    /// Where the worker keeps its state [default: ~/.metal9/worker]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// The options of running.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Where the worker keeps its state [default: ~/.metal9/worker]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The gateway's gRPC address [default: the one that was joined]
    #[arg(long, value_name = "HOST:PORT")]
    gateway: Option<String>,
    /// Processor cores for jobs [default: all]
    #[arg(long, value_name = "CORES")]
    cpu: Option<String>,
    /// Memory for jobs, in MiB [default: most of it]
    #[arg(long, value_name = "MIB")]
    memory: Option<String>,
    /// The uv that builds environments [default: found, or fetched]
    #[arg(long, value_name = "PATH")]
    uv: Option<PathBuf>,
    /// The Python version for images that ask for any, as 3.11
    #[arg(long, value_name = "VERSION")]
    python: Option<String>,
    /// A label that jobs can ask for; may be given more than once
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// A device to pretend to have, as M3-Max or H100, for trying things out; may be given more
    /// than once
    #[arg(long, value_name = "NAME", value_parser = super::devices::simulated)]
    simulate_device: Vec<String>,
    /// A JSON file that describes the machine to pretend to be; for tests
    #[arg(long, value_name = "FILE", hide = true)]
    simulate_machine: Option<PathBuf>,
    /// A JSON file that says how hot the machine is and what it runs on, read each second; for tests
    #[arg(long, value_name = "FILE", hide = true)]
    simulate_condition: Option<PathBuf>,
    /// Stop when stdin ends
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

/// Joins a gateway, or runs its jobs.
///
/// # Errors
///
/// If the gateway refuses, or the worker cannot start.
pub(crate) fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Join(arguments) => join(context, arguments),
        Command::Run(arguments) => serve(context, &arguments),
        Command::Service(command) => service::run(context, command),
        Command::Cordon(arguments) => standing::cordon(context, &arguments, "cordon"),
        Command::Uncordon(arguments) => standing::cordon(context, &arguments, "uncordon"),
        Command::Drain(arguments) => standing::drain(context, &arguments),
        Command::List { connection } => list(context, &connection),
        Command::Rotate(worker) => change(context, &worker, "rotate", "has a new credential"),
        Command::Revoke(worker) => change(context, &worker, "revoke", "is shut out"),
        Command::Remove(worker) => change(context, &worker, "remove", "is removed"),
    }
}

fn join(context: &Context, arguments: Join) -> Result<(), Failure> {
    let flags = flags([
        ("state_dir", arguments.state.map(|path| path.to_string_lossy().into_owned())),
        ("pool", arguments.pool),
    ]);
    let settings = context.settings(flags)?.worker().map_err(Failure::usage)?;
    context.start_log("warn")?;
    let options = JoinOptions {
        gateway: arguments.gateway,
        fingerprint: arguments.fingerprint,
        token: arguments.token,
        pool: settings.pool,
        state_dir: settings.state_dir,
    };
    let _spinner = Spinner::start("joining");
    let joined = ask_to_join(&options)?;
    let (id, pool) = (joined.worker_id.to_string(), joined.pool);
    let value = json!({ "worker_id": id, "pool": pool, "state": options.state_dir });
    context.output.show(&value, || format!("joined pool {pool} as worker {id}\n"))
}

/// Joins a gateway.
fn ask_to_join(options: &JoinOptions) -> Result<Joined, Failure> {
    context::ask(async {
        metal9_worker::join(options).await.map_err(|error| {
            let hint = error.hint();
            let failure = Failure::request(error).context("cannot join the gateway");
            match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })
    })
}

fn serve(context: &Context, arguments: &Run) -> Result<(), Failure> {
    let path =
        |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
    let labels = (!arguments.label.is_empty()).then(|| arguments.label.join(","));
    let devices = &arguments.simulate_device;
    let devices = (!devices.is_empty()).then(|| devices.join(","));
    let flags = flags([
        ("state_dir", path(&arguments.state)),
        ("gateway", arguments.gateway.clone()),
        ("cpu", arguments.cpu.clone()),
        ("memory_mib", arguments.memory.clone()),
        ("uv", path(&arguments.uv)),
        ("python", arguments.python.clone()),
        ("simulate_devices", devices),
        ("labels", labels),
    ]);
    let settings = context.settings(flags)?;
    let juicefs = settings.juicefs().map_err(Failure::usage)?;
    let images = settings.images().map_err(Failure::usage)?;
    let settings = settings.worker().map_err(Failure::usage)?;
    context.start_log("info")?;
    let mut options = Options { images, ..options(settings, juicefs)? };
    options.simulate_machine.clone_from(&arguments.simulate_machine);
    options.simulate_condition.clone_from(&arguments.simulate_condition);
    if arguments.exit_with_stdin {
        // Whoever started it waits for it.
        options.drain = Duration::ZERO;
    }
    let with_stdin = arguments.exit_with_stdin;
    context::serve(Box::pin(run_until_stopped(options, with_stdin)))
}

fn list(context: &Context, connection: &connection::Arguments) -> Result<(), Failure> {
    context.start_log("warn")?;
    let http = context::ask(client::http(connection))?;
    let answer =
        http.get("/api/v1/worker").map_err(|failure| failure.context("cannot list the workers"))?;
    context.output.show(&answer["workers"], || {
        let workers = answer["workers"].as_array().map_or(&[][..], Vec::as_slice);
        let rows = workers.iter().map(|worker| {
            ["id", "hostname", "pool", "state", "last_seen"]
                .map(|name| worker[name].as_str().unwrap_or("-").to_owned())
        });
        output::table(["worker", "hostname", "pool", "state", "last seen"], rows)
    })
}

fn change(context: &Context, worker: &Named, what: &str, done: &str) -> Result<(), Failure> {
    context.start_log("warn")?;
    let http = context::ask(client::http(&worker.connection))?;
    let path = format!("/api/v1/worker/{}", worker.id);
    let answer = match what {
        "remove" => http.delete(&path),
        _ => http.post(&format!("{path}/{what}"), &json!({})),
    };
    let answer = answer
        .map_err(|failure| failure.context(format!("cannot {what} worker `{}`", worker.id)))?;
    context.output.show(&answer, || format!("worker {} {done}\n", worker.id))
}

fn flags<const N: usize>(values: [(&'static str, Option<String>); N]) -> Flags {
    let given = values.into_iter().filter_map(|(name, value)| Some((("worker", name), value?)));
    given.collect()
}

fn options(
    settings: WorkerSettings,
    juicefs: metal9_juicefs::Settings,
) -> Result<Options, Failure> {
    let shim = std::env::current_exe()
        .context("cannot find this program's own file")
        .map_err(Failure::ours)?;
    Ok(Options {
        state_dir: std::path::absolute(&settings.state_dir).map_err(Failure::usage)?,
        gateway: settings.gateway,
        pool: settings.pool,
        cpu: settings.cpu,
        memory_mib: settings.memory_mib,
        cache_mib: settings.cache_mib.unwrap_or(metal9_worker::CACHE_MIB),
        cache_check: settings
            .cache_check_seconds
            .map_or(metal9_worker::CACHE_CHECK, Duration::from_secs),
        uv: settings.uv,
        python: settings.python,
        gpu_slots: settings.gpu_slots.unwrap_or(1),
        // The settings have been checked to be what this knows.
        on_battery: settings.on_battery.parse().unwrap_or_default(),
        simulate_devices: metal9_types::names(&settings.simulate_devices)
            .map(str::to_owned)
            .collect(),
        simulate_machine: None,
        simulate_condition: None,
        images: metal9_worker::ImageSettings::default(),
        labels: settings.labels,
        cgroups: settings.cgroups.unwrap_or(true),
        pids: settings.pids,
        cpu_limit_percent: settings.cpu_limit_percent,
        // The settings have been checked to be what these know.
        runtime: metal9_types::Runtime::named(&settings.runtime)
            .unwrap_or(metal9_types::Runtime::Native),
        isolation: settings.isolation.parse().unwrap_or_default(),
        network: settings.network.parse().unwrap_or_default(),
        job_user: settings.job_user,
        readable: settings.readable,
        writable: settings.writable,
        hidden: settings.hidden,
        cdi_dirs: settings.cdi_dirs,
        copy_volumes: settings.copy_volumes.unwrap_or(false),
        juicefs,
        keep_awake: settings.keep_awake.unwrap_or(cfg!(target_os = "macos")),
        drain: Duration::from_secs_f64(settings.drain_seconds.unwrap_or(DRAIN_SECONDS).min(1e9)),
        credential_age: match settings.credential_hours.unwrap_or(CREDENTIAL_HOURS) {
            0 => None,
            hours => Some(std::time::Duration::from_secs(hours.saturating_mul(3600))),
        },
        shim,
    })
}

async fn run_until_stopped(options: Options, with_stdin: bool) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(Failure::ours)?;
    let shutdown = CancellationToken::new();
    if with_stdin {
        stop_with_stdin(shutdown.clone()).map_err(Failure::ours)?;
    }
    let mut running = Box::pin(metal9_worker::run(options, shutdown.clone()));
    let ended = tokio::select! {
        ended = &mut running => ended,
        () = signals.next() => {
            shutdown.cancel();
            tokio::select! {
                ended = &mut running => ended,
                // The second time, somebody is in a hurry; jobs die with their supervisor.
                () = signals.next() => Ok(()),
            }
        }
    };
    ended.map_err(|error| {
        let hint = error.hint();
        let is_usage = error.is_usage();
        let failure = if is_usage { Failure::usage(error) } else { Failure::ours(error) };
        let failure = failure.context("the worker stopped");
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

/// Stops the worker when whoever started it closes the pipe or is gone.
fn stop_with_stdin(shutdown: CancellationToken) -> std::io::Result<()> {
    let wait = move || {
        // An error is an end as well.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        shutdown.cancel();
    };
    std::thread::Builder::new().name("stdin".to_owned()).spawn(wait).map(drop)
}
