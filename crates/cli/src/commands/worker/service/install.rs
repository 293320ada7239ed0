//! `metal9 worker install`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use metal9_service::{Manager, Place, Scope, Service, Standing, lingers, plans, search_path};
use serde_json::json;

use super::{apply, find, join};
use crate::commands::worker::DRAIN_SECONDS;
use crate::context::Context;
use crate::environment;
use crate::failure::Failure;
use crate::output;
use crate::settings::WorkerSettings;
use crate::talk;

/// How long the service manager may take to say that the worker runs.
const START_WITHIN: Duration = Duration::from_secs(10);

/// What begins the names of settings that a worker reads beside its own: of the file system of volumes
/// not the gateway's, with its secrets.
const READ_TOO: [&str; 4] = [
    "METAL9_IMAGES_",
    "METAL9_JUICEFS_PROGRAM",
    "METAL9_JUICEFS_CACHE_",
    "METAL9_JUICEFS_OWN_MOUNT",
];

/// What a worker runs by name beside uv and Python, if it is there.
const PROGRAMS: [&str; 5] = ["juicefs", "ip", "nft", "buildah", "fusermount3"];

/// How often to ask it.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The options of installing.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Arguments {
    /// Where the worker keeps its state [default: ~/.metal9/worker of the account it runs as]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The account that the machine's service runs as [default: who called sudo]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Print what would be written and run, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    join: join::Arguments,
}

/// Installs the service and starts it.
///
/// # Errors
///
/// If the worker has not joined, or the service manager refuses.
pub(super) fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let place = find::fresh(arguments.user.as_deref())?;
    let flag = arguments.state.as_ref().map(|path| path.to_string_lossy().into_owned());
    let flags = flag.map(|state| (("worker", "state_dir"), state)).into_iter().collect();
    let settings = context.settings_at(&place.account.home, flags)?;
    let settings = settings.worker().map_err(Failure::usage)?;
    context.start_log("warn")?;
    let service = describe(context, place, &settings)?;
    if service.makes_containers && service.place.account.uid != 0 {
        let (runtime, account) = (&settings.runtime, &service.place.account.name);
        let error = anyhow!(
            "the setting runtime = \"{runtime}\" takes a worker of root's, and this service would \
             run as `{account}`"
        );
        let hint = "install the machine's service: `sudo metal9 worker install --user root`";
        return Err(Failure::usage(error).hint(hint));
    }
    let before = std::fs::read_to_string(service.place.file()).ok();
    let plan = plans::install(&service, before.as_deref());
    if arguments.dry_run {
        let steps: Vec<String> = plan.iter().map(ToString::to_string).collect();
        return output::print((steps.join("\n") + "\n").as_bytes());
    }
    join::ensure(arguments.join, &service.place, &service.state)?;
    apply::apply(&plan)
        .map_err(|failure| failure.context(format!("cannot install the {}", service.place)))?;
    let standing = wait_until_it_runs(&service.place)?;
    for hint in hints(&service.place) {
        talk::say(format_args!("hint: {hint}"));
    }
    let file = service.place.file();
    let value = json!({ "file": file, "service": service.place.name(), "standing": standing });
    context.output.show(&value, || {
        let pid = standing.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
        format!("installed a {}; the worker runs{pid}\n", service.place)
    })
}

/// What is to run, by the settings of the account that it runs as.
fn describe(
    context: &Context,
    place: Place,
    settings: &WorkerSettings,
) -> Result<Service, Failure> {
    let program = std::env::current_exe()
        .context("cannot find this program's own file")
        .map_err(Failure::ours)?;
    let config = context.config.as_ref().map(std::path::absolute).transpose();
    let state = std::path::absolute(&settings.state_dir).map_err(Failure::usage)?;
    // The service manager's own path would not find what this shell's does.
    let makes_containers = settings.runtime != "native";
    let names = ["uv", "python3"].into_iter();
    let names = names.chain(makes_containers.then_some(&*settings.runtime)).chain(PROGRAMS);
    let programs = settings.uv.iter().cloned().chain(names.flat_map(which::which));
    let found: Vec<PathBuf> = programs.filter_map(|it| it.parent().map(PathBuf::from)).collect();
    let mut variables = environment::all();
    variables.retain(|(name, _)| {
        name.starts_with("METAL9_WORKER_")
            || READ_TOO.iter().any(|start| name.starts_with(start))
            || name == environment::LOG
            || metal9_env::is_package_source(name)
    });
    // The state directory stands on the command line.
    variables.retain(|(name, _)| name != "METAL9_WORKER_STATE_DIR");
    variables.sort();
    let seconds = settings.drain_seconds.unwrap_or(DRAIN_SECONDS).min(1e9);
    Ok(Service {
        path: search_path(place.manager, &place.account.home, &found),
        program,
        config: config.map_err(Failure::usage)?,
        state,
        variables,
        drain: Duration::from_secs_f64(seconds),
        makes_containers,
        place,
    })
}

/// A service that ends at once has something to say.
fn wait_until_it_runs(place: &Place) -> Result<Standing, Failure> {
    let began = Instant::now();
    loop {
        let standing = find::standing(place)?;
        if standing.running {
            return Ok(standing);
        }
        if began.elapsed() > START_WITHIN {
            let error = anyhow!("the service is installed but does not run: {}", standing.state);
            return Err(Failure::request(error).hint("see `metal9 worker logs`"));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What the person may want to do next.
fn hints(place: &Place) -> Vec<String> {
    let mut hints = Vec::new();
    let answer = plans::linger(place).and_then(|words| apply::ask(&words).ok());
    let text = answer.map(|answer| String::from_utf8_lossy(&answer.stdout).into_owned());
    if text.and_then(|text| lingers(&text)) == Some(false) {
        let name = &place.account.name;
        hints.push(format!(
            "the worker runs while `{name}` is logged in; `loginctl enable-linger {name}` lets it \
             run from boot on"
        ));
    }
    if (place.manager, place.scope) == (Manager::Launchd, Scope::User) {
        hints.push(
            "the worker runs while you are logged in at the screen; `sudo metal9 worker install` \
             lets it run from boot on"
                .to_owned(),
        );
    }
    hints
}
