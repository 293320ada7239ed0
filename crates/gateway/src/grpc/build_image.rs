//! BuildImage: resolve an image and make its environment on a worker, while the client watches.

use std::collections::HashSet;
use std::time::Duration;

use metal9_proto::beta9::image::{BuildImageRequest, BuildImageResponse};
use metal9_proto::worker as worker_wire;
use metal9_store::Actor;
use metal9_types::{ImageSpec, Platform, Refusal, RootSource, SessionId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::codegen::BoxStream;

use super::image_spec::from_build;
use crate::auth::Caller;
use crate::builds::BuildEvent;
use crate::error::ApiError;
use crate::fleet::Connection;
use crate::macs::{self, Verdict};
use crate::roots;
use crate::shared::{Shared, SharedRef};
use crate::validate::{image, shown};

pub(super) type BuildStream = BoxStream<BuildImageResponse>;
type Sender = mpsc::Sender<Result<BuildImageResponse, Status>>;

const STREAM_QUEUE: usize = 64;
/// How often to look whether a worker takes builds again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A build moves on to another worker this often when workers are lost under it.
const TRIES: u32 = 3;

pub(super) fn build(
    shared: &SharedRef,
    request: BuildImageRequest,
    sdk_version: String,
    caller: Caller,
) -> BuildStream {
    let (sender, receiver) = mpsc::channel(STREAM_QUEUE);
    let shared = SharedRef::clone(shared);
    let spec = from_build(request, sdk_version, caller.workspace);
    let (who, mut leave) = (caller.actor, caller.leave);
    metal9_tasks::spawn_infallible("image build", async move {
        let built = tokio::select! {
            built = run(&shared, &spec, &who, &sender) => built,
            error = leave.over() => {
                let _ = sender.send(Err(error.into())).await;
                return;
            }
            () = shared.shutdown.cancelled() => {
                let status = Status::unavailable("the gateway is stopping; build again later");
                // A client that went away is told nothing.
                let _ = sender.send(Err(status)).await;
                return;
            }
        };
        let last = match built {
            Ok(python) => BuildImageResponse {
                image_id: spec.id().to_string(),
                done: true,
                success: true,
                python_version: format!("python{python}"),
                ..Default::default()
            },
            Err(BuildError::Gone) => return,
            Err(BuildError::Refused(text)) => BuildImageResponse {
                msg: format!("{text}\n"),
                done: true,
                success: false,
                ..Default::default()
            },
        };
        // A client that went away is not an error: the image is there for the next one.
        let _ = sender.send(Ok(last)).await;
    });
    Box::pin(ReceiverStream::new(receiver))
}

enum BuildError {
    /// The client went away.
    Gone,
    /// The image cannot be built, and why.
    Refused(String),
}

impl From<ApiError> for BuildError {
    fn from(error: ApiError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<metal9_store::StoreError> for BuildError {
    fn from(error: metal9_store::StoreError) -> Self {
        ApiError::from(error).into()
    }
}

/// Builds the image; the Python version it got.
async fn run(
    shared: &Shared,
    spec: &ImageSpec,
    who: &Actor,
    sender: &Sender,
) -> Result<String, BuildError> {
    let refusals = spec.refusals();
    if !refusals.is_empty() {
        let lines: Vec<_> = refusals.iter().map(Refusal::to_string).collect();
        let text = format!("this image cannot be made\n{}", lines.join("\n"));
        return Err(refuse(sender, text).await);
    }
    if let Err(refused) = image::image(spec) {
        return Err(refuse(sender, refused.to_string()).await);
    }
    if let Err(refused) = has_context(shared, spec).await {
        return Err(refuse(sender, refused.to_string()).await);
    }
    if let Err(refused) = shared.disk.room_for("the image", 0) {
        return Err(refuse(sender, refused.to_string()).await);
    }
    let means = match roots::means(shared, spec, who).await {
        Ok(means) => means,
        Err(missing) => return Err(refuse(sender, missing.to_string()).await),
    };
    shared.store.put_image(spec).await?;
    let mut tries = 0;
    let mut tried = Vec::new();
    while tries < TRIES {
        let (session, platform) = find_worker(shared, spec, sender, &tried).await?;
        match build_on(shared, session, spec, means.clone(), sender).await? {
            Built::Ready(python) => {
                if platform != Platform::Aarch64Darwin && spec.root() == RootSource::Host {
                    tell_of_macs(shared, spec, sender).await?;
                }
                return Ok(python);
            }
            Built::Lost => {
                tries += 1;
                say(sender, "the worker was lost; building on another one\n").await?;
            }
            Built::Impossible(text) => {
                tried.push(platform);
                if others(shared, spec.root(), &tried).await?.is_empty() {
                    return Err(refuse(sender, text).await);
                }
                let other =
                    format!("not on {platform}: {text}\nbuilding on a machine of another kind\n");
                say(sender, &other).await?;
            }
        }
    }
    Err(BuildError::Refused("the workers that built the image were lost".to_owned()))
}

/// Says if the Macs that are connected cannot have the image; workers of other kinds can.
async fn tell_of_macs(
    shared: &Shared,
    spec: &ImageSpec,
    sender: &Sender,
) -> Result<(), BuildError> {
    let Some(target) = macs::connected(shared, None) else { return Ok(()) };
    if let Verdict::Impossible(reason) = macs::verdict(shared, spec, target).await? {
        let text = format!(
            "warning: calls that come to a Mac will fail, since the image cannot be made there: \
             {reason}\nhint: ask for a `gpu` or a `pool` that Macs are not in, or limit the package \
             with `; sys_platform == 'linux'`\n"
        );
        say(sender, &text).await?;
    }
    Ok(())
}

/// Refuses a context that the workspace has not sent.
async fn has_context(shared: &Shared, spec: &ImageSpec) -> Result<(), ApiError> {
    let (Some(owner), context) = (spec.owner, &spec.build_context) else { return Ok(()) };
    if context.is_empty() {
        return Ok(());
    }
    let missing = || ApiError::NotFound { kind: "build context", id: shown(context) };
    let object = context.parse().map_err(|_| missing())?;
    match shared.store.object_exists(owner, object).await? {
        true => Ok(()),
        false => Err(missing()),
    }
}

/// Connected workers on none of these platforms, with roots of this kind, that take something new; the
/// one that is to build goes first.
async fn others(
    shared: &Shared,
    root: RootSource,
    tried: &[Platform],
) -> Result<Vec<(SessionId, Platform)>, ApiError> {
    let views = shared.driver.query(|core, _| core.workers()).await?;
    // Of one that has just come, the scheduler may know nothing yet.
    let closed = views.iter().filter(|view| view.cordoned || view.leaving || view.suspect);
    let closed: HashSet<_> = closed.filter_map(|view| view.session).collect();
    let mut able = shared.fleet.connections();
    able.retain(|(session, connection)| {
        let fits = connection.root >= root && !tried.contains(&connection.platform);
        fits && !closed.contains(session)
    });
    let is_untrusted = |pool: &str| shared.options.is_untrusted(pool);
    in_order(&mut able, is_untrusted, |session| shared.builds.on(session));
    Ok(able.into_iter().map(|(session, connection)| (session, connection.platform)).collect())
}

/// Workers of pools for code that nobody trusts build for others only where nobody else can, and whoever
/// builds least builds next.
fn in_order(
    able: &mut [(SessionId, Connection)],
    is_untrusted: impl Fn(&str) -> bool,
    builds: impl Fn(SessionId) -> usize,
) {
    able.sort_by_cached_key(|(session, connection)| {
        (is_untrusted(&connection.pool), builds(*session), *session)
    });
}

/// How a build on one worker ended.
enum Built {
    /// The image is there; the Python version it got.
    Ready(String),
    /// Workers of its platform cannot have the image, and why.
    Impossible(String),
    /// The worker was lost.
    Lost,
}

async fn say(sender: &Sender, text: &str) -> Result<(), BuildError> {
    let message = BuildImageResponse { msg: text.to_owned(), ..Default::default() };
    sender.send(Ok(message)).await.map_err(|_| BuildError::Gone)
}

/// Ends a build for a reason. The SDK shows what came as progress, not the last message's text.
async fn refuse(sender: &Sender, text: String) -> BuildError {
    match say(sender, &format!("{text}\n")).await {
        Ok(()) => BuildError::Refused(text),
        Err(gone) => gone,
    }
}

/// A connected worker on none of the platforms that were tried; waits for one that takes builds, if
/// none does. Where those that are cannot make the image, that is said at once.
async fn find_worker(
    shared: &Shared,
    spec: &ImageSpec,
    sender: &Sender,
    tried: &[Platform],
) -> Result<(SessionId, Platform), BuildError> {
    let patience = Duration::from_secs(shared.options.build_wait_seconds);
    let deadline = tokio::time::Instant::now() + patience;
    let mut told = false;
    loop {
        let connected = shared.fleet.connected();
        if let Some(found) = others(shared, spec.root(), tried).await?.first() {
            return Ok(*found);
        }
        let connections = shared.fleet.connections();
        if let Some(best) = connections.iter().map(|(_, connection)| connection.root).max()
            && best < spec.root()
        {
            return Err(refuse(sender, roots::refusal(spec, best)).await);
        }
        if !told {
            let why = match connections.is_empty() {
                true => "waiting: no worker is connected to build the image\n",
                false => {
                    "waiting: no worker takes builds: those that could are cordoned or leave\n"
                }
            };
            say(sender, why).await?;
            told = true;
        }
        let seconds = patience.as_secs();
        let give_up = match connections.is_empty() {
            true => format!(
                "no worker connected within {seconds} s\nhint: start one with `metal9 worker run`"
            ),
            false => format!(
                "no worker took the build within {seconds} s: those that could are cordoned or \
                 leave\nhint: `metal9 worker uncordon` one, or start another"
            ),
        };
        tokio::select! {
            () = connected => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = sender.closed() => return Err(BuildError::Gone),
            () = tokio::time::sleep_until(deadline) => return Err(BuildError::Refused(give_up)),
        }
    }
}

/// Builds on one worker.
async fn build_on(
    shared: &Shared,
    session: SessionId,
    spec: &ImageSpec,
    root_means: Option<worker_wire::RootMeans>,
    sender: &Sender,
) -> Result<Built, BuildError> {
    let mut build = shared.builds.begin(&shared.fleet, session, spec.build_context.parse().ok());
    let macos = macs::connected(shared, None).and_then(|target| target.macos);
    let message = worker_wire::BuildImage {
        build_id: build.id,
        image_id: spec.id().to_string(),
        image_spec: serde_json::to_string(spec).unwrap_or_default(),
        macos: macos.map(|macos| macos.to_string()).unwrap_or_default(),
        root_means,
    };
    let message = worker_wire::gateway_message::Message::BuildImage(message);
    shared.fleet.send(session, message.into());
    // The session may have ended between being found and being given the build.
    if !shared.fleet.is_connected(session) {
        return Ok(Built::Lost);
    }
    loop {
        let event = tokio::select! {
            event = build.events.recv() => event,
            () = sender.closed() => return Err(BuildError::Gone),
        };
        let Some(event) = event else { return Ok(Built::Lost) };
        match event {
            BuildEvent::Progress(text) => say(sender, &text).await?,
            BuildEvent::Built(lock) => {
                shared.store.put_lock(spec, &lock).await?;
                return Ok(Built::Ready(lock.python));
            }
            BuildEvent::Failed { text, is_final: true } => return Ok(Built::Impossible(text)),
            BuildEvent::Failed { text, is_final: false } => {
                return Err(refuse(sender, text).await);
            }
            BuildEvent::Lost => return Ok(Built::Lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use metal9_tasks::CancellationToken;
    use metal9_types::{Condition, WorkerId};

    use super::*;

    #[test]
    fn who_builds_least_is_next_and_strangers_pools_are_last() {
        let connection = |pool: &str| Connection {
            worker: WorkerId(uuid::Uuid::nil()),
            pool: pool.to_owned(),
            platform: Platform::X86_64Linux,
            macos: None,
            root: RootSource::Built,
            isolation: String::new(),
            condition: Condition::default(),
            queue: mpsc::channel(1).0,
            cut: CancellationToken::new(),
        };
        let pools = ["strangers", "a", "b", "c"];
        let mut able: Vec<_> = pools
            .iter()
            .zip(1..)
            .map(|(pool, session)| (SessionId(session), connection(pool)))
            .collect();
        let builds = |session: SessionId| if session == SessionId(2) { 2 } else { 0 };
        in_order(&mut able, |pool| pool == "strangers", builds);
        let sessions: Vec<_> = able.iter().map(|(session, _)| session.0).collect();
        assert_eq!(sessions, [3, 4, 2, 1]);
    }
}
