//! Turning a runner into this container's stub.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use metal9_types::{Failure, FailureKind, Phase};

use crate::container::{
    Addresses, Command, Container, ContainerSpec, Halt, Job, failure, gpu_memory, phase,
};
use crate::memory::Limits;
use crate::runner::{FromRunner, Happening, Load, Runner, ToRunner};

/// The port the SDK wants to be told of; functions do not listen on it.
const BIND_PORT: &str = "8001";

/// How long a runner that closed its socket may take to end.
pub(super) const EXIT_WITHIN: Duration = Duration::from_secs(2);

impl Container {
    /// Has the runner import the handler.
    pub(super) async fn load(
        &mut self,
        runner: &mut Runner,
        job: &Job,
        phases: &mut Vec<Phase>,
    ) -> Result<(), Halt> {
        let begun = Instant::now();
        let attempt = job.call.attempt;
        runner.memory.set_limits(&self.limits(), &runner.supervisor);
        runner.pump.attach(job.sink.clone()).await;
        let addresses = runner.addresses(&self.addresses).unwrap_or_else(|error| {
            tracing::warn!(container = %self.id, %error, "its way to the gateway is closed");
            self.addresses.clone()
        });
        let mut env = variables(&self.spec, &addresses, &job.call.job_token, &self.tools.hostname);
        let (equipment, given) = (self.tools.equipment.now(), &self.spec.devices);
        let devices = equipment.variables(given);
        env.extend(devices.into_iter().map(|(name, value)| (name.to_owned(), value)));
        gpu_memory::limit(&mut env, equipment.given(given), self.spec.memory_mib);
        let load = Load {
            env,
            code_dir: runner.directory.code().to_string_lossy().into_owned(),
            python_version: python_version(&runner.python),
            settle: runner.copies.late.iter().map(|it| it.to_string_lossy().into_owned()).collect(),
            ..request(&self.spec)
        };
        // A runner that is gone already shows below, by its end.
        let _ = runner.send(&ToRunner::Load(Box::new(load))).await;
        let failed = loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Call(job)) => self.refuse(&job).await,
                    // Nobody wants it any more, but it may be wanted again.
                    Some(Command::Release(_)) => {}
                    Some(Command::Cancel { .. }) => {
                        let reason = "its call was stopped before it had begun".to_owned();
                        return Err(Halt::Killed(reason));
                    }
                    Some(Command::Stop) | None => return Err(Halt::Asked),
                },
                happening = runner.happens() => match happening {
                    Happening::Message(FromRunner::Loaded { .. }) => {
                        phases.push(phase("import", begun.elapsed()));
                        self.mark(runner).await;
                        return Ok(());
                    }
                    Happening::Message(FromRunner::LoadFailed { text }) => {
                        break Failure::new(FailureKind::Exception, text);
                    }
                    Happening::Message(_) | Happening::VolumesLost => {}
                    Happening::Broken(error) => break failure::nonsense(&error),
                    Happening::Memory(excess) => break runner.memory.failure(excess),
                    Happening::Closed => break closed(runner, WHEN).await,
                    Happening::Exit(exit) => match runner.last_words().await {
                        Some(FromRunner::LoadFailed { text }) => {
                            break Failure::new(FailureKind::Exception, text);
                        }
                        _ => break runner.explain(failure::crash(exit, WHEN)),
                    },
                },
            }
        };
        phases.push(phase("import", begun.elapsed()));
        Err(Halt::failed(attempt, failed, std::mem::take(phases)))
    }

    /// What the handler started while it was loaded stays as long as the container. What is started
    /// later goes with the call: so one mark serves all calls.
    async fn mark(&self, runner: &Runner) {
        if let Err(error) = runner.supervisor.mark().await {
            // Without a mark the program alone is spared; a program that ended shows later.
            tracing::debug!(container = %self.id, %error, "could not mark the processes");
        }
    }

    fn limits(&self) -> Limits {
        let ContainerSpec { memory_mib, cpu_millicores, .. } = *self.spec;
        let percent = self.tools.containment.cpu_limit_percent;
        let most = |percent| cpu_millicores.saturating_mul(percent) / 100;
        Limits { memory_mib, cpu_millicores, cpu_most_millicores: percent.map(most) }
    }

    /// Answers a call that came while the container could not take it; the gateway never sends one.
    pub(super) async fn refuse(&self, job: &Job) {
        tracing::warn!(attempt = %job.call.attempt, container = %self.id, "a call came out of turn");
        let text = "the container was given a call while it was busy with another";
        let ended = crate::report::Ended {
            outcome: Err(Failure::new(FailureKind::Internal, text)),
            phases: Vec::new(),
            reusable: true,
        };
        self.tell(crate::event::Event::Ended { attempt: job.call.attempt, ended }).await;
    }
}

const WHEN: &str = "while its code was being loaded";

/// What a runner that closed its socket failed with: it usually ends right after.
pub(super) async fn closed(runner: &Runner, when: &str) -> Failure {
    match tokio::time::timeout(EXIT_WITHIN, runner.supervisor.wait()).await {
        Ok(exit) => runner.explain(failure::crash(exit, when)),
        Err(_) => Failure::new(
            FailureKind::Crash,
            format!("the function's process closed its connection to the worker {when}"),
        ),
    }
}

/// The minor version as clients name it: `python3.11` of `3.11.7`.
fn python_version(full: &str) -> String {
    let minor: Vec<&str> = full.split('.').take(2).collect();
    format!("python{}", minor.join("."))
}

fn request(spec: &ContainerSpec) -> Load {
    Load {
        handler: spec.handler.clone(),
        on_start: spec.on_start.clone(),
        container_id: spec.container_name.clone(),
        stub_id: spec.stub.to_string(),
        stub_type: spec.stub_type.clone(),
        timeout: spec.timeout_seconds,
        keep_warm: spec.keep_warm_seconds,
        callback_url: spec.callback_url.clone(),
        inputs: spec.inputs_schema.clone(),
        outputs: spec.outputs_schema.clone(),
        processes: spec.processes,
        ..Load::default()
    }
}

/// The environment of the user's code: what they asked for, then what the SDK reads.
fn variables(
    spec: &ContainerSpec,
    addresses: &Addresses,
    job_token: &str,
    hostname: &str,
) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = spec.env.iter().cloned().collect();
    let mut set = |name: &str, value: &str| variables.insert(name.to_owned(), value.to_owned());
    set("CONTAINER_ID", &spec.container_name);
    set("CONTAINER_HOSTNAME", hostname);
    set("STUB_ID", &spec.stub.to_string());
    set("STUB_TYPE", &spec.stub_type);
    set("HANDLER", &spec.handler);
    set("BIND_PORT", BIND_PORT);
    set("TIMEOUT", &spec.timeout_seconds.to_string());
    set("KEEP_WARM_SECONDS", &spec.keep_warm_seconds.to_string());
    set("BETA9_GATEWAY_HOST", &addresses.grpc.0);
    set("BETA9_GATEWAY_PORT", &addresses.grpc.1);
    set("BETA9_GATEWAY_HOST_HTTP", &addresses.http.0);
    set("BETA9_GATEWAY_PORT_HTTP", &addresses.http.1);
    set("BETA9_TOKEN", job_token);
    for (name, value) in [
        ("ON_START", &spec.on_start),
        ("CALLBACK_URL", &spec.callback_url),
        ("BETA9_INPUTS", &spec.inputs_schema),
        ("BETA9_OUTPUTS", &spec.outputs_schema),
    ] {
        if !value.is_empty() {
            set(name, value);
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_variables_come_along_but_cannot_replace_the_workers() {
        let spec = ContainerSpec {
            container_name: "function-x-1".into(),
            handler: "app:square".into(),
            env: vec![
                ("MODEL".into(), "a".into()),
                ("MODEL".into(), "b".into()),
                ("BETA9_TOKEN".into(), "forged".into()),
            ],
            timeout_seconds: 60,
            ..ContainerSpec::empty()
        };
        let addresses = Addresses {
            grpc: ("10.0.0.1".into(), "1993".into()),
            http: ("10.0.0.1".into(), "1994".into()),
        };
        let variables = variables(&spec, &addresses, "token", "host");
        let get = |name: &str| variables.get(name).map(String::as_str);
        assert_eq!(get("MODEL"), Some("b"));
        assert_eq!(get("BETA9_TOKEN"), Some("token"));
        assert_eq!(get("BETA9_GATEWAY_PORT_HTTP"), Some("1994"));
        assert_eq!(get("CONTAINER_ID"), Some("function-x-1"));
        assert_eq!(get("TIMEOUT"), Some("60"));
        assert_eq!(get("ON_START"), None);
    }

    #[test]
    fn a_python_version_is_told_as_clients_write_it() {
        assert_eq!(python_version("3.11.7"), "python3.11");
    }
}
