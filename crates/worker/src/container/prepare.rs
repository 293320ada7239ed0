//! Making a container ready: environment, code, process.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use metal9_env::{Environment, Progress};
use metal9_juicefs::Footing;
use metal9_types::{Failure, FailureKind, ImageSpec, Phase, RootSource};
use tokio::sync::oneshot;

use crate::code::{Code, CodeCache};
use crate::container::{Command, Container, Halt, Job, Makings, Workshop, failure, phase};
use crate::devices::NvidiaGpu;
use crate::errors::chain;
use crate::event::Event;
use crate::roots::{Root, RootError, Wanted};
use crate::runner::{Base, ContainerDirectory, Runner};
use crate::spares::Kind;
use crate::volumes::copy::VolumeCopy;
use crate::volumes::ground::Ground;
use crate::volumes::{self, Copies, Mount, Mounted, SharedDisk};

/// A step that takes longer than this is told to the user.
const SILENCE: Duration = Duration::from_secs(1);
/// How long the gateway may take to mount again what the volumes are on.
const REMOUNTED_WITHIN: Duration = Duration::from_secs(10);
/// How often to look whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Container {
    /// A runner in this container's environment with its code in place, or why there is none.
    pub(super) async fn prepare(
        &mut self,
        job: &Job,
        phases: &mut Vec<Phase>,
    ) -> Result<Runner, Halt> {
        let mut commands = std::mem::replace(&mut self.commands, tokio::sync::mpsc::channel(1).1);
        let result = tokio::select! {
            biased;
            () = stopped(&mut commands) => Err(None),
            made = self.make(job, phases) => made.map_err(Some),
        };
        self.commands = commands;
        match result {
            Ok(runner) => Ok(runner),
            Err(None) => Err(Halt::Killed("it was stopped before it was ready".to_owned())),
            Err(Some(failure)) => {
                if failure.kind == FailureKind::Setup {
                    self.say(&job.sink, &failure.message).await;
                }
                Err(Halt::failed(job.call.attempt, failure, std::mem::take(phases)))
            }
        }
    }

    async fn make(&self, job: &Job, phases: &mut Vec<Phase>) -> Result<Runner, Failure> {
        match &self.tools.workshop {
            Workshop::Real(makings) => self.make_from(makings, job, phases).await,
            #[cfg(test)]
            Workshop::Scripted(runners) => {
                let none = || Failure::new(FailureKind::Setup, "no runner was handed in");
                runners.lock().await.recv().await.ok_or_else(none)
            }
        }
    }

    /// Fetches the code while the environment is made and the process starts.
    async fn make_from(
        &self,
        makings: &Makings,
        job: &Job,
        phases: &mut Vec<Phase>,
    ) -> Result<Runner, Failure> {
        let unreachable = makings.launcher.guard.cannot_serve().filter(|_| self.spec.processes > 0);
        if let Some(reason) = unreachable {
            return Err(Failure::new(FailureKind::Setup, reason));
        }
        let (volumes, copies) = self.volumes(makings, job).await?;
        let process = async {
            let begun = Instant::now();
            let image = read_image(&self.spec.image_spec)?;
            let (environment, root) = match image.root() {
                RootSource::Host => (self.environment(makings, &image, job).await?, None),
                _ => {
                    let (packages, root) = Box::pin(self.rooted(makings, &image, job)).await?;
                    (packages, Some(root))
                }
            };
            let environment_took = begun.elapsed();
            let begun = Instant::now();
            let gpus = self.gpus(makings);
            let base = Base { environment: &environment, root: root.as_ref(), gpus: &gpus };
            let runner = self.runner(makings, base, &volumes).await?;
            self.hold(makings, &runner).await?;
            Ok((runner, environment_took, begun.elapsed()))
        };
        let code = async {
            let begun = Instant::now();
            let code = self.code(makings, job).await?;
            Ok((code, begun.elapsed()))
        };
        let ((mut runner, environment, process), (code, fetched)) =
            tokio::try_join!(process, code)?;
        let begun = Instant::now();
        runner.copies = copies;
        let target = runner.directory.code();
        let changed = code.is_some() || !volumes.is_empty();
        if let Some(code) = code {
            CodeCache::copy(code, target.clone()).await.map_err(|error| failure::code(&error))?;
        }
        for volume in &volumes {
            volume.link(&target).map_err(|error| volumes::not_linked(&error))?;
        }
        if changed {
            let handed = makings.launcher.guard.hand_over(&target);
            handed.map_err(|error| failure::directory(&target, &error))?;
        }
        phases.push(phase("environment", environment));
        phases.push(phase("code", fetched + begun.elapsed()));
        phases.push(phase("process", process));
        Ok(runner)
    }

    /// Writes what making it says to the log.
    fn quietly(&self) -> Progress {
        let container = self.id;
        Arc::new(move |line: &str| {
            tracing::debug!(%container, line = line.trim_end(), "environment");
        })
    }

    /// The root filesystem of its image, and the packages that are added to that.
    async fn rooted(
        &self,
        makings: &Makings,
        image: &ImageSpec,
        job: &Job,
    ) -> Result<(Environment, Root), Failure> {
        let failed = |error: RootError| Failure::new(FailureKind::Setup, chain(&error));
        let roots = makings.roots.as_ref().ok_or_else(|| failed(RootError::NoContainers))?;
        let (environments, progress) = (&makings.environments, self.quietly());
        let Makings { code, launcher, .. } = makings;
        let wanted = Wanted { image, means: &self.spec.means, code, launcher };
        let lock = match &self.spec.lock {
            Some(lock) => lock.clone(),
            None => {
                let resolving = roots.resolve(&wanted, environments, &progress);
                self.telling(job, "making the image", resolving).await.map_err(failed)?
            }
        };
        let making = async {
            let root = roots.ensure(&wanted, lock.root.as_ref(), &progress);
            let packages = async { Ok(environments.packages(&lock, &progress).await?) };
            tokio::try_join!(packages, root)
        };
        self.telling(job, "making the image", making).await.map_err(failed)
    }

    async fn environment(
        &self,
        makings: &Makings,
        image: &ImageSpec,
        job: &Job,
    ) -> Result<Environment, Failure> {
        let environments = &makings.environments;
        let progress = self.quietly();
        let failed = |error| failure::environment(&error);
        // A lock that was made elsewhere may be for a Python that is not here; an image that asks
        // for any is then resolved anew.
        let lock = match &self.spec.lock {
            Some(lock) if environments.has_python(lock) => lock.clone(),
            _ => {
                let locking = environments.lock(image, &progress);
                let what = "resolving the packages of the environment";
                self.telling(job, what, locking).await.map_err(failed)?
            }
        };
        let building = environments.ensure(&lock, &progress);
        self.telling(job, "building the environment", building).await.map_err(failed)
    }

    /// Waits for a step, and says what it is once it takes longer than one waits in silence.
    async fn telling<T>(&self, job: &Job, what: &str, step: impl Future<Output = T>) -> T {
        let mut step = Box::pin(step);
        tokio::select! {
            done = &mut step => return done,
            () = tokio::time::sleep(SILENCE) => {}
        }
        self.progress(job, what).await;
        step.await
    }

    /// The code, which is to be copied; nothing if there is no code.
    async fn code(&self, makings: &Makings, job: &Job) -> Result<Option<Code>, Failure> {
        let Some(object) = self.spec.object else { return Ok(None) };
        let fetching = makings.code.ensure(object);
        let code = self.telling(job, "fetching the code", fetching).await;
        code.map(Some).map_err(|error| failure::code(&error))
    }

    /// The disk that its volumes are on, if this machine has it: the gateway's own, or the file system
    /// that both mount. Nothing if it is to work on copies.
    async fn disk(&self, makings: &Makings, job: &Job) -> Result<Option<SharedDisk>, Failure> {
        let (spec, own) = (&self.spec, &makings.own_mount);
        // Another account could neither read nor write what the gateway's has made.
        let copies = makings.copy_volumes || makings.launcher.guard.owner().is_some();
        if copies || spec.volumes.is_empty() {
            return Ok(None);
        }
        if !own.is_preferred() && self.sees_gateways(&spec.shared).await? {
            return Ok(Some(spec.shared.clone()));
        }
        let Some(access) = &spec.juicefs else { return Ok(None) };
        let mounting = own.root(access);
        let root = self.telling(job, "mounting the file system of the volumes", mounting).await;
        let Ok(root) = root else { return Ok(None) };
        let disk = SharedDisk { root, marker: spec.shared.marker.clone() };
        if volumes::sees(&disk).await? {
            return Ok(Some(disk));
        }
        // Whose metadata can be reached and whose contents cannot, as those in a directory.
        tracing::warn!("what was mounted does not show the gateway's volumes; copying them");
        Ok(None)
    }

    /// Whether this machine sees the gateway's volumes. Where it did before, the gateway is given
    /// the time to mount them again.
    async fn sees_gateways(&self, disk: &SharedDisk) -> Result<bool, Failure> {
        let until = Instant::now() + if self.anew { REMOUNTED_WITHIN } else { Duration::ZERO };
        loop {
            if volumes::sees(disk).await? {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Where its volumes are: the gateway's own directories where this machine has them, else copies.
    async fn volumes(
        &self,
        makings: &Makings,
        job: &Job,
    ) -> Result<(Vec<Mounted>, Copies), Failure> {
        let spec = &self.spec;
        let mounted = |directory: PathBuf, mount: &Mount| Mounted {
            directory,
            place: mount.place.clone(),
            read_only: false,
        };
        let mut ground = Ground::default();
        let mut disk = self.disk(makings, job).await?;
        if let Some(there) = &disk {
            match Footing::of(&there.root).await {
                Ok(footing) => ground = Ground::new(footing),
                Err(error) if error.kind() == ErrorKind::TimedOut => return Err(volumes::silent()),
                Err(error) => {
                    tracing::warn!(%error, "jobs cannot be kept apart there; volumes are copied");
                    disk = None;
                }
            }
        }
        let copied = if disk.is_some() { &[] } else { &*spec.volumes };
        let mut mounts = Vec::new();
        if let Some(disk) = disk {
            let there = |mount: &Mount| mounted(disk.directory(mount.volume), mount);
            mounts.extend(spec.volumes.iter().map(there));
        }
        let mut late: Vec<PathBuf> = Vec::new();
        if makings.launcher.guard.is_opaque() && ground.is_watched() {
            late.extend(mounts.iter().map(|mount| mount.directory.clone()));
        }
        if copied.is_empty() && spec.buckets.is_empty() {
            return Ok((mounts, Copies { ground, late, ..Copies::default() }));
        }
        let launcher = &makings.launcher;
        let path = launcher.containers.join(format!("{}.volumes", self.id));
        let failed = |error: std::io::Error| failure::directory(&path, &error);
        let directory = ContainerDirectory::bare(path.clone()).map_err(failed)?;
        let mut volumes = Vec::new();
        if !copied.is_empty() {
            let making = self.copies(makings, copied, &path);
            volumes = self.telling(job, "copying the volumes", making).await?;
            let there = |mount: &Mount| mounted(path.join(mount.volume.to_string()), mount);
            mounts.extend(copied.iter().map(there));
        }
        let mut buckets = Vec::new();
        if !spec.buckets.is_empty() {
            let making = self.buckets(makings, job, &path, &mut mounts);
            buckets = self.telling(job, "fetching the cloud buckets", making).await?;
        }
        launcher.guard.hand_over(&path).map_err(failed)?;
        Ok((
            mounts,
            Copies { volumes, buckets, directory: Some(directory), owed: None, ground, late },
        ))
    }

    async fn copies(
        &self,
        makings: &Makings,
        mounts: &[Mount],
        path: &Path,
    ) -> Result<Vec<VolumeCopy>, Failure> {
        let mut made = Vec::new();
        for mount in mounts {
            let target = path.join(mount.volume.to_string());
            let (gateway, blobs) = (self.tools.gateway.clone(), Arc::clone(&makings.blobs));
            let making = VolumeCopy::make(mount.volume, &mount.name, target, gateway, blobs);
            made.push(making.await.map_err(|error| volumes::not_copied(&error))?);
        }
        Ok(made)
    }

    /// Whether it was given the GPU of a Mac.
    fn uses_mac_gpu(&self) -> bool {
        self.tools.equipment.now().has_mac_gpu(&self.spec.devices)
    }

    /// The GPUs that have to be given to its container, if it is one.
    fn gpus(&self, makings: &Makings) -> Vec<NvidiaGpu> {
        let given = self.tools.equipment.now().nvidia(&self.spec.devices);
        if makings.launcher.guard.gpus().is_some() { given } else { Vec::new() }
    }

    /// A spare runner of the environment if there is one, else a new one.
    async fn runner(
        &self,
        makings: &Makings,
        base: Base<'_>,
        volumes: &[Mounted],
    ) -> Result<Runner, Failure> {
        let guard = &makings.launcher.guard;
        let shape = guard.shape(self.spec.network, self.uses_mac_gpu(), self.spec.memory_mib);
        // Stubs that want less network than is usual are rare: no spares are made for them.
        // A spare has neither volumes nor a root filesystem nor a GPU of its container's, and none can be
        // given to it later.
        let usual = base.root.is_none() && volumes.is_empty() && base.gpus.is_empty();
        if shape.network == guard.network() && usual {
            let (reply, answer) = oneshot::channel();
            let kind = Kind { environment: base.environment.clone(), shape };
            self.tell(Event::TakeSpare { kind, reply }).await;
            if let Ok(Some(spare)) = answer.await
                && !spare.has_ended()
            {
                return Ok(*spare);
            }
        }
        let started = makings.launcher.start(base, Some(self.id), shape, volumes).await;
        started.map_err(|error| failure::launch(&error))
    }
}

/// Waits for a command that ends the container, as any does at this time but another call, which
/// nobody sends before the first is over.
async fn stopped(commands: &mut tokio::sync::mpsc::Receiver<Command>) {
    loop {
        match commands.recv().await {
            Some(Command::Call(job)) => {
                let attempt = job.call.attempt;
                tracing::warn!(%attempt, "a call came before its container was ready");
            }
            Some(Command::Release(_)) => {}
            Some(Command::Cancel { .. } | Command::Stop) | None => return,
        }
    }
}

fn read_image(json: &str) -> Result<ImageSpec, Failure> {
    serde_json::from_str(json).map_err(|error| {
        let text = format!("the image's specification could not be understood: {error}");
        Failure::new(FailureKind::Internal, text)
    })
}
