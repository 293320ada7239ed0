//! One run from start to end.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use metal9_sandbox::Network;
use serde::Serialize;
use serde_json::Value;

use super::checks::{self, Forbidden, Library, timed};
use super::client::Client;
use super::fleet::{Gateway, Worker};
use super::jobs::Jobs;
use crate::context::Context;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::private_file;
use crate::report::{self, Check, Status};
use crate::settings::Settings;

/// What to try.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Fail unless a GPU computes, and try PyTorch too.
    pub(crate) gpu: bool,
    /// Where everything is kept during the run.
    pub(crate) directory: PathBuf,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// All checks, in order.
    pub(crate) checks: Vec<Check>,
    /// Where it ran.
    pub(crate) machine: Machine,
    /// How the worker isolates jobs, in its own words.
    pub(crate) isolation: String,
    /// What the worker offers.
    pub(crate) devices: Value,
    /// The end of the worker's log, if something failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) log: String,
}

/// Files of one directory that jobs try to get at.
const MANY: usize = 10;

/// Hears of each check when it is done.
pub(crate) type Listener<'a> = &'a mut dyn FnMut(&Check);

struct Run<'a> {
    settings: &'a Settings,
    options: &'a Options,
    report: Report,
    told: Listener<'a>,
}

/// Tries everything. What does not work is in the report; an error means that the run itself failed.
///
/// # Errors
///
/// If the settings are wrong, or the gateway stops in the middle.
pub(crate) async fn run(
    context: &Context,
    settings: &Settings,
    options: &Options,
    told: Listener<'_>,
) -> Result<Report, Failure> {
    let report = Report { machine: Machine::look(), ..Report::default() };
    let mut run = Run { settings, options, report, told };
    let begun = std::time::Instant::now();
    let mut gateway = match Gateway::start(settings, &options.directory).await {
        Ok(gateway) => gateway,
        Err(failure) => {
            run.done(Check::fail("gateway", sentence(&failure)));
            return Ok(run.report);
        }
    };
    let seconds = Some(begun.elapsed().as_secs_f64());
    run.done(Check { seconds, ..Check::ok("gateway", "started on free ports") });

    let begun = std::time::Instant::now();
    match gateway.add_worker(context, &options.directory, &[]).await {
        Ok(worker) => {
            run.worker(&worker, begun.elapsed().as_secs_f64());
            let (ready, state) = (gateway.ready.clone(), gateway.state.clone());
            let working = run.jobs(&ready.grpc, &ready.http, &ready.token, &state, &worker);
            let jobs = Box::pin(gateway.during(working)).await??;
            if !report::all_work(&run.report.checks) {
                run.report.log = worker.log();
            }
            let containers = worker.state.join("containers");
            gateway.during(run.end(worker, &containers)).await?;
            if let Some(jobs) = jobs {
                run.confined(context, &mut gateway, &jobs).await?;
            }
        }
        Err(failure) => run.done(Check::fail("worker", sentence(&failure))),
    }
    gateway.stop().await?;
    Ok(run.report)
}

/// A failure in one line of a report.
fn sentence(failure: &Failure) -> String {
    let text = failure.to_string();
    text.strip_prefix("error: ").unwrap_or(&text).trim().to_owned()
}

impl Run<'_> {
    fn done(&mut self, check: Check) {
        (self.told)(&check);
        self.report.checks.push(check);
    }

    fn worker(&mut self, worker: &Worker, seconds: f64) {
        self.report.isolation = worker.status["isolation"].as_str().unwrap_or_default().to_owned();
        self.report.devices = worker.status["devices"].clone();
        let isolation = match self.report.isolation.as_str() {
            "" => "unknown",
            known => known,
        };
        let found = format!("joined; jobs are isolated by: {isolation}");
        self.done(Check { seconds: Some(seconds), ..Check::ok("worker", found) });
    }

    /// What needs a worker whose jobs may reach the gateway only: the same one with another setting.
    async fn confined(
        &mut self,
        context: &Context,
        gateway: &mut Gateway,
        jobs: &Jobs,
    ) -> Result<(), Failure> {
        let name = "gateway-only";
        let policy = [("METAL9_WORKER_NETWORK", Network::GatewayOnly.as_str())];
        let worker = match gateway.add_worker(context, &self.options.directory, &policy).await {
            Ok(worker) => worker,
            Err(failure) => {
                self.done(unconfined(name, &sentence(&failure)));
                return Ok(());
            }
        };
        let check = timed(name, checks::gateway_only(jobs));
        let check = Box::pin(gateway.during(check)).await?;
        if check.status == Status::Fail && self.report.log.is_empty() {
            self.report.log = worker.log();
        }
        self.done(check);
        gateway.during(worker.stop()).await
    }

    /// Everything that needs the fleet, and what jobs can be run with later.
    async fn jobs(
        &mut self,
        grpc: &str,
        http: &str,
        token: &str,
        gateway: &Path,
        worker: &Worker,
    ) -> Result<Option<Jobs>, Failure> {
        let policy = self.settings.worker().map_err(Failure::usage)?.network;
        let policy: Network = policy.parse().unwrap_or_default();
        let (host, port) = http.rsplit_once(':').context("no port").map_err(Failure::ours)?;
        let port = port.parse().map_err(Failure::ours)?;
        let forbidden = self.forbidden(gateway, &worker.state)?;
        let Some(jobs) = self.prepare(grpc, token).await else { return Ok(None) };
        let check = timed("call", checks::call(&jobs)).await;
        self.done(check);
        let check = timed("output", checks::streaming(&jobs)).await;
        self.done(check);
        let check = timed("files", checks::files(&jobs, forbidden)).await;
        self.done(check);
        let check = timed("network", checks::network(&jobs, policy, (host, port))).await;
        self.done(check);
        let check = timed("memory", checks::memory(&jobs)).await;
        self.done(check);
        let check = timed("cancellation", checks::cancellation(&jobs)).await;
        self.done(check);
        let check = timed("detached", checks::detached(&jobs)).await;
        self.done(check);
        let check = timed("gauges", checks::gauges()).await;
        self.done(check);
        self.compute(&jobs).await;
        Ok(Some(jobs))
    }

    /// The code and the environment that all jobs need; nothing if there is none to be had.
    async fn prepare(&mut self, grpc: &str, token: &str) -> Option<Jobs> {
        let mut ready = None;
        let building = async {
            let client = Client::connect(grpc, token).await?;
            let object = client.upload().await?;
            let (image, found) = checks::environment(&client, &[]).await?;
            ready = Some(Jobs { client, object, image });
            Ok(found)
        };
        let check = timed("environment", building).await;
        self.done(check);
        ready
    }

    /// Libraries that compute.
    async fn compute(&mut self, jobs: &Jobs) {
        let gpu = has_apple_gpu(&self.report.devices);
        if self.options.gpu && !gpu {
            let check = Check::fail("gpu", "the worker offers no Apple GPU");
            self.done(check.fix("`metal9 doctor` says what was looked at and seen"));
        }
        for (library, built, name, memory) in [
            (Library::Mlx, "mlx environment", "mlx", "mlx memory"),
            (Library::Torch, "torch environment", "pytorch", "pytorch memory"),
        ] {
            if library == Library::Torch && !self.options.gpu {
                self.done(Check::skipped(name, "only with --gpu"));
                continue;
            }
            if library == Library::Torch && !gpu {
                self.done(Check::skipped(name, "there is no Apple GPU to compare with"));
                continue;
            }
            let mut image = None;
            let building = async {
                let built = checks::environment(&jobs.client, library.packages()).await?;
                image = Some(built.0);
                Ok(built.1)
            };
            let check = timed(built, building).await;
            self.done(check);
            if let Some(image) = image {
                let jobs = jobs.with_image(image);
                let check = timed(name, checks::matmul(&jobs, library, gpu)).await;
                self.done(check);
                let check = timed(memory, checks::buffers(&jobs, library, gpu)).await;
                self.done(check);
            }
        }
    }

    /// What no job may get at.
    fn forbidden(&self, gateway: &Path, worker: &Path) -> Result<Forbidden, Failure> {
        let canary = self.options.directory.join("canary.txt");
        private_file::write(&canary, "not for jobs\n")
            .with_context(|| format!("cannot write `{}`", canary.display()))
            .map_err(Failure::ours)?;
        let home = std::env::home_dir().ok_or_else(|| Failure::ours(anyhow!("no home")))?;
        let mut files = vec![canary, worker.join("worker.json"), gateway.join("secret.key")];
        files.extend(readable_files(&home));
        files.extend(readable_files(&home.join(".ssh")));
        let directories = vec![home, self.options.directory.clone(), gateway.to_owned()];
        Ok(Forbidden { files, directories })
    }

    /// Ends the worker; nothing of it may be left.
    async fn end(&mut self, worker: Worker, containers: &Path) {
        let check = timed("end", async {
            worker.stop().await;
            let left = std::fs::read_dir(containers).map_or(0, Iterator::count);
            Ok(checks::Found::of_left(left))
        })
        .await;
        self.done(check);
    }
}

/// What it means that no worker with the policy could be started: some machines cannot have it, as a
/// worker says when it is asked to.
fn unconfined(name: &'static str, why: &str) -> Check {
    if why.contains("cannot be met") {
        let setting = "a worker whose jobs reach the gateway only cannot be had here";
        let reason = why.lines().find(|line| line.contains("cannot be met")).unwrap_or(why);
        return Check::warn(name, format!("{setting}: {}", reason.trim()));
    }
    Check::fail(name, why)
}

/// Some files directly in a directory that this user can read.
fn readable_files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let readable = files.map(|file| file.path()).filter(|path| std::fs::File::open(path).is_ok());
    readable.take(MANY).collect()
}

/// Whether the worker offers a GPU that Metal reaches.
fn has_apple_gpu(devices: &Value) -> bool {
    devices.as_array().into_iter().flatten().any(|device| {
        let vendor = device["vendor"].as_str().unwrap_or_default();
        vendor.eq_ignore_ascii_case("apple") && device["simulated"] != true
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_machine_that_cannot_confine_jobs_is_none_that_fails() {
        let why =
            "it ended with 1\nthe worker's log:\nerror: network = \"x\" cannot be met: no means";
        let check = unconfined("gateway-only", why);
        assert_eq!(check.status, Status::Warn);
        assert!(check.found.ends_with("error: network = \"x\" cannot be met: no means"));
        assert_eq!(unconfined("gateway-only", "it did not connect").status, Status::Fail);
    }

    #[test]
    fn a_simulated_gpu_computes_nothing() {
        assert!(has_apple_gpu(&json!([{ "vendor": "apple", "simulated": false }])));
        assert!(!has_apple_gpu(&json!([{ "vendor": "apple", "simulated": true }])));
        assert!(!has_apple_gpu(&json!([{ "vendor": "nvidia" }])));
        assert!(!has_apple_gpu(&Value::Null));
    }
}
