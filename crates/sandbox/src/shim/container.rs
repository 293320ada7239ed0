//! Starting the program in a container, by way of an OCI runtime.
//!
//! The runtime is the supervisor's child, starts the container and leaves; the container's first
//! process, whose parent it was, is then the supervisor's, which is the subreaper.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};

use super::confine::Surroundings;
use super::entrance::Entrance;
use super::receive::{Control, ProgramFds};
use super::start::{CHANNEL_FD, enter, errno, own_only};
use crate::cgroup::Group;
use crate::launch::Launch;
use crate::oci::{Container, Engine, Kind, describe, remove_cgroups};
use crate::wire::Reply;

/// How long a runtime may take to start a container. One that hangs would else be waited for forever.
const START_WITHIN: Duration = Duration::from_secs(60);

/// How often it is looked at whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A variable whose name means nothing to a runtime.
const MARK: &str = "METAL9_MARK";

/// Where runtimes find the programs that they use.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Starts the program of a launch in its container and returns the process id that it has outside.
pub(super) fn start(
    launch: &Launch,
    container: &Container,
    fds: ProgramFds,
    control: &Control,
) -> Result<i32, Reply> {
    let [channel, stdout, stderr] = fds;
    let failed = |error: io::Error| Reply::NoContainer(-errno(&error));
    own_only(&channel, &[&stdout, &stderr]).map_err(failed)?;
    // A runtime that makes groups itself makes the container's below.
    let opaque = container.runtime.engine.is_opaque();
    let doors = launch.group.as_ref().filter(|group| opaque || !group.is_v2());
    let doors = match doors.map_or_else(|| Ok(Vec::new()), Group::doors) {
        Ok(doors) => doors,
        Err(error) => return Err(Reply::NoGroup(errno(&error))),
    };
    let surroundings = prepare(launch, container, control).map_err(failed)?;
    let mut child =
        run(launch, container, (channel, stdout, stderr), doors, surroundings, control)?;
    match wait(&mut child, control) {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(Reply::NoContainer(code(status))),
        Err(error) => return Err(failed(error)),
    }
    let pid = fs::read_to_string(container.pid_file()).map_err(failed)?;
    pid.trim().parse().map_err(|error| failed(io::Error::other(format!("{error}"))))
}

/// Writes the bundle, and gathers what the runtime's process has to do before it becomes that.
fn prepare(launch: &Launch, container: &Container, control: &Control) -> io::Result<Surroundings> {
    for directory in [container.bundle(), container.state()] {
        fs::create_dir_all(directory)?;
    }
    let files = launch.isolation.as_ref().map_or(&[][..], |isolation| &isolation.files);
    let place = Surroundings::place(files, container)?;
    let (_, open_files) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let channel = if container.runtime.engine.is_opaque() { 0 } else { CHANNEL_FD };
    let description = describe(launch, container, &place.root(), channel, open_files, &kind)
        .map_err(io::Error::other)?;
    let config = File::create(container.bundle().join("config.json"))?;
    serde_json::to_writer(io::BufWriter::new(config), &description.spec)?;
    if container.has_hooks() {
        // Nobody else gets to where these are.
        fs::set_permissions(container.bundle(), Permissions::from_mode(0o755))?;
        fs::set_permissions(container.bundle().join("config.json"), Permissions::from_mode(0o644))?;
    }
    Surroundings::new(launch, container, place, description.root, control)
}

fn kind(path: &Path) -> Kind {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Kind::Directory,
        Ok(_) => Kind::File,
        Err(_) => Kind::Missing,
    }
}

fn run(
    launch: &Launch,
    container: &Container,
    (channel, stdout, stderr): (OwnedFd, OwnedFd, OwnedFd),
    doors: Vec<File>,
    surroundings: Surroundings,
    control: &Control,
) -> Result<Child, Reply> {
    // Of the isolation nothing is the runtime's: it could not do its work.
    let outside = Launch { isolation: None, account: None, ..launch.clone() };
    let entrance = Entrance::new(&outside, control)?;
    let runtime = &container.runtime;
    let network = launch.isolation.as_ref().map_or_else(Default::default, |it| it.network);
    let mut command = Command::new(&runtime.program);
    command
        .args(runtime.start(container, network, &surroundings.bundle(container)))
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .current_dir("/")
        .stdout(stdout)
        .stderr(stderr);
    // By this the processes of a job are found that nobody is the parent of; `TMPDIR` would be used.
    command.envs(launch.mark().map(|mark| (MARK, mark)));
    if runtime.engine.is_opaque() {
        // It passes nothing else on.
        command.stdin(Stdio::from(channel));
    } else {
        command.stdin(Stdio::null());
    }
    // SAFETY: the supervisor has a single thread, so no lock can be held by a thread that the fork
    // does not copy, and the new process may do whatever the supervisor may.
    unsafe {
        command.pre_exec(move || {
            enter(&doors)?;
            entrance.enter()?;
            surroundings.enter()
        })
    };
    command.spawn().map_err(|error| Reply::NoContainer(-errno(&error)))
}

/// How a runtime ended, a signal as a shell tells it.
fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1)
}

/// Waits until the runtime has done its work, or the worker is gone.
fn wait(child: &mut Child, control: &Control) -> io::Result<ExitStatus> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if control.is_closed() || begun.elapsed() > START_WITHIN {
            child.kill()?;
            child.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Removes what a container whose processes are gone has left outside of its own directory and of the
/// group, which is still to be read: cgroups of hierarchies that nobody but the runtime uses.
pub(super) fn leave(container: &Container) {
    // Everything of one in gVisor is in its directory.
    if container.runtime.engine == Engine::Runc {
        remove_cgroups(&container.id);
    }
}
