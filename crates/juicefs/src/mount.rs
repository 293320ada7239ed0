//! A file system that stays mounted.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use metal9_tasks::CancellationToken;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::program::{self, Program};
use crate::{Access, JuiceFsError, Settings, format, points};

/// Where it is mounted, below the directory for all of it.
const POINT: &str = "mnt";
/// How long mounting may take. The program itself goes on for minutes where nobody answers.
const WITHIN: Duration = Duration::from_secs(15);
/// How often to look whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the program may take to end once nothing is mounted.
const END_WITHIN: Duration = Duration::from_secs(2);
/// Pauses between tries to mount again: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How often its log is looked at.
const TIDY_EVERY: Duration = Duration::from_secs(5);
/// The log is emptied when it is longer, in bytes.
const LOG_BYTES: u64 = 1024 * 1024;
/// What bounds each step of the program: a full or broken object storage is an error after some
/// seconds and not, as without these, after minutes.
const BOUNDS: [&str; 6] = ["--io-retries", "3", "--put-timeout", "20s", "--get-timeout", "20s"];

/// Takes away what an earlier run has left mounted below a directory for mounts.
pub fn remove_leftover(home: &Path) {
    let point = home.join(POINT);
    if let Err(error) = points::clear(&point) {
        tracing::warn!(at = %point.display(), %error, "cannot unmount what was left");
    }
}

/// What a mount is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The gateway's: it looks after the file system, and who uses it may outlive it.
    Keeper,
    /// A worker's.
    Guest,
}

/// How a mount is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is there.
    Up,
    /// It is being mounted again, and why.
    Down(String),
}

/// A file system that is mounted again whenever its program ends, until it is stopped.
#[derive(Debug)]
pub struct Mount {
    point: PathBuf,
    standing: watch::Receiver<Standing>,
    stop: CancellationToken,
    keeping: std::sync::Mutex<Option<JoinHandle<()>>>,
}

/// Everything that a try needs.
#[derive(Debug)]
struct Plan {
    program: Program,
    access: Access,
    role: Role,
    point: PathBuf,
    log: PathBuf,
    cache: PathBuf,
    cache_mib: u64,
}

impl Mount {
    /// Mounts a file system at `mnt` below the directory `home`, which is made if it is not there.
    /// What an earlier run has left mounted there is taken away.
    ///
    /// A keeper makes the file system if there is none and the settings say so.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub async fn start(
        settings: &Settings,
        access: Access,
        home: &Path,
        role: Role,
    ) -> Result<Self, JuiceFsError> {
        let program = Program::find(settings, &home.join("tools"), role).await?;
        tracing::debug!(program = %program.path().display(), "juicefs");
        let plan = Plan {
            program,
            access,
            role,
            point: home.join(POINT),
            log: home.join("mount.log"),
            cache: settings.cache_dir.clone().unwrap_or_else(|| home.join("cache")),
            cache_mib: settings.cache_mib(),
        };
        let child = match plan.mount().await {
            Err(JuiceFsError::NotFormatted { .. })
                if role == Role::Keeper && settings.format == Some(true) =>
            {
                format::format(&plan.program, settings, &plan.access, home).await?;
                plan.mount().await?
            }
            mounted => mounted?,
        };
        tracing::info!(metadata = plan.access.url(), at = %plan.point.display(), "JuiceFS is mounted");
        let (told, standing) = watch::channel(Standing::Up);
        let (stop, point) = (CancellationToken::new(), plan.point.clone());
        let keeping = plan.keep(child, told, stop.clone());
        let keeping = metal9_tasks::spawn_infallible("juicefs", keeping);
        Ok(Self { point, standing, stop, keeping: Some(keeping).into() })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// How it is now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Waits until it is there, but not for long.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn up(&self, within: Duration) -> Result<(), String> {
        let mut standing = self.standing.clone();
        let is_up = standing.wait_for(|it| *it == Standing::Up);
        if matches!(tokio::time::timeout(within, is_up).await, Ok(Ok(_))) {
            return Ok(());
        }
        match self.standing() {
            Standing::Up => Ok(()),
            Standing::Down(why) => Err(why),
        }
    }

    /// Takes it away.
    pub async fn stop(&self) {
        self.stop.cancel();
        let keeping = self.keeping.lock().ok().and_then(|mut it| it.take());
        if let Some(keeping) = keeping {
            let _ = keeping.await;
        }
    }
}

impl Plan {
    /// Mounts once.
    async fn mount(&self) -> Result<Child, JuiceFsError> {
        self.clear().await;
        self.prepare()?;
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.map_err(|source| directory(&self.log, source))?;
        // What was said of an earlier try is no reason for this one.
        log.set_len(0).map_err(|source| directory(&self.log, source))?;
        let mut child = self.spawn(log)?;
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait().map_err(|it| self.program.failed(it))? {
                let (said, url) = (self.said(), self.access.url().to_owned());
                if program::is_unformatted(&said) {
                    return Err(JuiceFsError::NotFormatted { url });
                }
                let reason = format!("{} ({status})", program::reason(&said));
                return Err(JuiceFsError::Refused { url, reason });
            }
            if points::is_mounted(&self.point) {
                return Ok(child);
            }
            if begun.elapsed() > WITHIN {
                kill(&mut child).await;
                self.clear().await;
                let (url, reason) = (self.access.url().to_owned(), program::reason(&self.said()));
                return Err(JuiceFsError::Slow { url, within: WITHIN, reason });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn prepare(&self) -> Result<(), JuiceFsError> {
        for path in [&self.point, &self.cache] {
            fs::create_dir_all(path).map_err(|source| directory(path, source))?;
        }
        // Parts of everybody's files.
        let private = fs::set_permissions(&self.cache, Permissions::from_mode(0o700));
        private.map_err(|source| directory(&self.cache, source))
    }

    fn spawn(&self, log: File) -> Result<Child, JuiceFsError> {
        let failed = |error| self.program.failed(error);
        let mut command = self.program.command(&self.access, "mount");
        // This is who looks after it; without that, it forks, and hands what it has mounted to
        // anybody of its user by a socket in /tmp.
        command.env("JFS_SUPERVISOR", "metal9");
        // A job must not find files in a volume that read what all do.
        command.args(["--hide-internal", "--no-usage-report", "--metrics", "127.0.0.1:0"]);
        command.args(BOUNDS);
        if self.role == Role::Guest {
            command.args(["--no-bgjob", "--backup-meta", "0"]);
        }
        command.arg("--cache-dir").arg(&self.cache);
        command.args(["--cache-size", &self.cache_mib.to_string()]);
        command.arg(self.access.for_program()).arg(&self.point);
        // A file and no pipe: it outlives us if we are killed, and so do the jobs that use it.
        let out = log.try_clone().map_err(failed)?;
        command.stdin(Stdio::null()).stdout(out).stderr(log).spawn().map_err(failed)
    }

    /// Mounts again and again, until it is told to stop.
    async fn keep(self, mut child: Child, told: watch::Sender<Standing>, stop: CancellationToken) {
        loop {
            let ended = tokio::select! {
                ended = child.wait() => ended,
                () = stop.cancelled() => return self.take_down(child).await,
                () = tokio::time::sleep(TIDY_EVERY) => {
                    self.tidy();
                    continue;
                }
            };
            let ended = ended.map_or_else(|error| error.to_string(), |it| it.to_string());
            tracing::warn!(ended, at = %self.point.display(), "juicefs ended; mounting again");
            told.send_replace(Standing::Down("it is being mounted again".to_owned()));
            let mut pause = PAUSES.0;
            child = loop {
                tokio::select! {
                    mounted = self.mount() => match mounted {
                        Ok(child) => break child,
                        Err(error) => {
                            let why = causes(&error);
                            tracing::warn!(why, "JuiceFS cannot be mounted again");
                            told.send_replace(Standing::Down(why));
                        }
                    },
                    () = stop.cancelled() => return self.clear().await,
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSES.1),
                    () = stop.cancelled() => return self.clear().await,
                }
            };
            tracing::info!(at = %self.point.display(), "JuiceFS is mounted again");
            told.send_replace(Standing::Up);
        }
    }

    /// Unmounts. The program ends by itself when nobody uses the file system any more; those who
    /// do are jobs that go on without a gateway, or nobody.
    async fn take_down(&self, mut child: Child) {
        self.clear().await;
        if tokio::time::timeout(END_WITHIN, child.wait()).await.is_ok() {
            return;
        }
        match self.role {
            Role::Keeper => tracing::info!("JuiceFS stays until the jobs that use it end"),
            Role::Guest => kill(&mut child).await,
        }
    }

    async fn clear(&self) {
        let point = self.point.clone();
        let cleared = tokio::task::spawn_blocking(move || points::clear(&point)).await;
        if let Ok(Err(error)) = cleared {
            tracing::warn!(at = %self.point.display(), %error, "cannot unmount");
        }
    }

    /// What the program wrote lately.
    fn said(&self) -> String {
        fs::read(&self.log).map(|it| String::from_utf8_lossy(&it).into_owned()).unwrap_or_default()
    }

    fn tidy(&self) {
        let log = File::options().write(true).open(&self.log);
        let long = log.and_then(|log| Ok((log.metadata()?.len() > LOG_BYTES).then_some(log)));
        if let Ok(Some(log)) = long {
            let _ = log.set_len(0);
        }
    }
}

async fn kill(child: &mut Child) {
    if let Err(error) = child.kill().await {
        tracing::warn!(%error, "cannot kill juicefs");
    }
}

fn directory(path: &Path, source: std::io::Error) -> JuiceFsError {
    JuiceFsError::Directory { path: path.to_owned(), source }
}

/// An error with its causes, in one line.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
