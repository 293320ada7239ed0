//! Wire messages to our own types and back, at the door.

mod machine;

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use metal9_juicefs::Access;
use metal9_proto::PROTOCOL_VERSION;
use metal9_proto::worker as wire;
use metal9_proto::worker::gateway_message::Message as Inbound;
use metal9_proto::worker::worker_message::Message as Outbound;
use metal9_sandbox::Network;
use metal9_types::{
    AllowList, AttemptId, ContainerId, EnvLock, Offer, Platform, RootLock, StubId, Target, VolumeId,
};
use metal9_volume::{MountPath, VolumePath};

use crate::buckets::{Bucket, Keys};
use crate::container::{Arguments, Call, ContainerSpec};
use crate::event::{BuildTask, NotBuilt, Order, Welcome};
use crate::report::{Presence, Report, Stream};
use crate::roots::Means;
use crate::runner::Described;
use crate::volumes::{Mount, SharedDisk};

/// A message that makes no sense; who sent it is newer, older or broken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConvertError {
    #[error("the gateway sent a message without content, or of a kind this worker does not know")]
    Empty,
    #[error("expected a welcome as the gateway's first message")]
    NotWelcome,
    #[error(
        "the gateway speaks version {0} of the worker protocol, this worker version {PROTOCOL_VERSION}"
    )]
    Version(u32),
    #[error("`{0}` is not an address as host:port")]
    Address(String),
    #[error("the gateway sent a second welcome")]
    SecondWelcome,
}

/// Names this process among those of its worker; 0 is no name.
static PROCESS: LazyLock<u64> = LazyLock::new(|| rand::random::<u64>() | 1);

/// The first message of a session.
pub(crate) fn hello(
    offer: &Offer,
    isolation: &Described,
    presence: Presence,
) -> wire::WorkerMessage {
    let attempts = presence.attempts.into_iter().map(|(attempt, task, container)| {
        wire::RunningAttempt { attempt_id: attempt.0, task_id: task, container_id: container.0 }
    });
    let containers = presence.containers.into_iter().map(|live| wire::LiveContainer {
        container_id: live.container.0,
        stub_id: live.stub.to_string(),
        devices: machine::places(&live.devices),
    });
    message(Outbound::Hello(wire::Hello {
        protocol_version: PROTOCOL_VERSION,
        metal9_version: offer.version.clone(),
        hostname: offer.hostname.clone(),
        platform: offer.platform.to_string(),
        cpu_millicores: offer.capacity.cpu_millicores,
        memory_mib: offer.capacity.memory_mib,
        devices: offer.devices.iter().map(machine::device).collect(),
        machine: Some(machine::machine(&offer.machine)),
        condition: Some(machine::condition(presence.condition)),
        on_battery: offer.on_battery.as_str().to_owned(),
        runtimes: offer.runtimes.iter().map(|runtime| runtime.as_str().to_owned()).collect(),
        pythons: offer.pythons.clone(),
        labels: offer.labels.clone().into_iter().collect(),
        cached_environments: presence.environments,
        cached_objects: presence.objects.iter().map(ToString::to_string).collect(),
        attempts: attempts.collect(),
        containers: containers.collect(),
        isolation: isolation.words.clone(),
        process: *PROCESS,
        interruption: presence.interruption,
        mounts_juicefs: presence.mounts_juicefs,
        root_source: offer.root.as_str().to_owned(),
        allow_lists: offer.allow_lists,
        own_networks: isolation.own_networks,
    }))
}

/// Any later message to the gateway.
pub(crate) fn report(report: Report) -> wire::WorkerMessage {
    message(match report {
        Report::Heartbeat(usage, condition) => Outbound::Heartbeat(wire::Heartbeat {
            memory_used_mib: usage.memory_used_mib,
            cpu_percent: usage.cpu_percent,
            condition: Some(machine::condition(condition)),
        }),
        Report::Started(attempt) => {
            Outbound::AttemptStarted(wire::AttemptStarted { attempt_id: attempt.0 })
        }
        Report::Progress { attempt, text } => {
            Outbound::AttemptProgress(wire::AttemptProgress { attempt_id: attempt.0, text })
        }
        Report::Output { attempt, sequence, stream, text } => Outbound::Output(wire::Output {
            attempt_id: attempt.0,
            sequence,
            stream: match stream {
                Stream::Stdout => wire::OutputStream::Stdout.into(),
                Stream::Stderr => wire::OutputStream::Stderr.into(),
            },
            text,
        }),
        Report::Finished { attempt, ended, result_pushed, last_sequence, started_unsaid } => {
            let (result, failure) = match ended.outcome {
                Ok(result) if !result_pushed => (result, None),
                Ok(_) => (Bytes::new(), None),
                Err(failure) => (Bytes::new(), Some(failure)),
            };
            Outbound::Finished(wire::Finished {
                attempt_id: attempt.0,
                failure: failure.map(|failure| wire::AttemptFailure {
                    kind: kind_name(failure.kind),
                    message: failure.message,
                    exit_code: failure.exit_code,
                }),
                result,
                result_pushed,
                phases: ended
                    .phases
                    .into_iter()
                    .map(|phase| wire::PhaseTime { name: phase.name, micros: phase.micros })
                    .collect(),
                last_sequence,
                container_reusable: ended.reusable,
                started_unsaid,
            })
        }
        Report::ContainerGone { container, reason } => {
            Outbound::ContainerGone(wire::ContainerGone { container_id: container.0, reason })
        }
        Report::BuildProgress { build, text } => {
            Outbound::BuildProgress(wire::BuildProgress { build_id: build, text })
        }
        Report::Built { build, outcome } => {
            let (error, lock) = match outcome {
                Ok(lock) => (NotBuilt::default(), Some(lock)),
                Err(error) => (error, None),
            };
            Outbound::BuildFinished(wire::BuildFinished {
                build_id: build,
                error: error.text,
                is_final: error.is_final,
                lock: lock.map(|lock| wire::Lock {
                    platform: lock.platform.to_string(),
                    python: lock.python,
                    requirements: lock.requirements,
                    macos: lock.macos.map(|macos| macos.to_string()).unwrap_or_default(),
                    root: lock.root.map(|root| wire::RootLock { base: root.base }),
                }),
            })
        }
        Report::Leaving { within } => {
            let millis = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
            Outbound::Leaving(wire::Leaving { within_millis: millis })
        }
    })
}

fn message(content: Outbound) -> wire::WorkerMessage {
    wire::WorkerMessage { message: Some(content) }
}

/// A failure kind's name on the wire: its name in JSON.
fn kind_name(kind: metal9_types::FailureKind) -> String {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(name)) => name,
        _ => "internal".to_owned(),
    }
}

/// The gateway's first message.
pub(crate) fn welcome(message: wire::GatewayMessage) -> Result<Welcome, ConvertError> {
    let Some(Inbound::Welcome(welcome)) = message.message else {
        return Err(ConvertError::NotWelcome);
    };
    if welcome.protocol_version != PROTOCOL_VERSION {
        return Err(ConvertError::Version(welcome.protocol_version));
    }
    Ok(Welcome {
        heartbeat: Duration::from_millis(u64::from(welcome.heartbeat_millis.clamp(100, 60_000))),
        drop_attempts: welcome.drop_attempts.into_iter().map(AttemptId).collect(),
        drop_containers: welcome.drop_containers.into_iter().map(ContainerId).collect(),
        grpc: address(&welcome.gateway_grpc)?,
        http: address(&welcome.gateway_http)?,
        only_wheels: welcome.only_wheels,
    })
}

/// Host and port of `host:port`; the brackets of an IPv6 host are kept.
fn address(text: &str) -> Result<(String, String), ConvertError> {
    text.rsplit_once(':')
        .filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        .map(|(host, port)| (host.to_owned(), port.to_owned()))
        .ok_or_else(|| ConvertError::Address(text.to_owned()))
}

/// Any later message of the gateway.
pub(crate) fn order(message: wire::GatewayMessage) -> Result<Order, ConvertError> {
    Ok(match message.message.ok_or(ConvertError::Empty)? {
        Inbound::Welcome(_) => return Err(ConvertError::SecondWelcome),
        Inbound::Assign(assign) => assignment(assign),
        Inbound::StopAttempt(stop) => {
            Order::StopAttempt { attempt: AttemptId(stop.attempt_id), reason: stop.reason }
        }
        Inbound::StopContainer(stop) => Order::StopContainer(ContainerId(stop.container_id)),
        Inbound::OutputAck(ack) => {
            Order::OutputAck { attempt: AttemptId(ack.attempt_id), sequence: ack.sequence }
        }
        Inbound::FinishedAck(ack) => Order::FinishedAck(AttemptId(ack.attempt_id)),
        Inbound::BuildImage(build) => Order::Build {
            build: build.build_id,
            image_spec: build.image_spec,
            task: BuildTask::Here {
                macos: build.macos.parse().ok(),
                means: means(build.root_means),
            },
        },
        Inbound::ResolveImage(resolve) => {
            let macos = resolve.macos.parse().ok();
            let platform: Option<Platform> = resolve.platform.parse().ok();
            Order::Build {
                build: resolve.build_id,
                image_spec: resolve.image_spec,
                task: BuildTask::Resolve(platform.map(|platform| Target { platform, macos })),
            }
        }
        Inbound::CancelBuild(cancel) => Order::CancelBuild(cancel.build_id),
        Inbound::OpenTunnel(open) => Order::OpenTunnel {
            tunnel: open.tunnel_id,
            container: ContainerId(open.container_id),
            process: open.process,
        },
        Inbound::OpenWorkspace(open) => Order::OpenWorkspace {
            tunnel: open.tunnel_id,
            container: ContainerId(open.container_id),
        },
        Inbound::ReleaseAttempt(release) => Order::ReleaseAttempt(AttemptId(release.attempt_id)),
        Inbound::Ping(wire::Ping {}) => Order::Ping,
        Inbound::RotateCredential(wire::RotateCredential {}) => Order::RotateCredential,
    })
}

/// An assignment; one that cannot be read is still answered, since its attempt waits.
fn assignment(assign: wire::Assign) -> Order {
    let container = ContainerId(assign.container_id);
    let attempt = AttemptId(assign.attempt_id);
    let task_id = assign.task_id.clone();
    let spec = match assign.container.map(container_spec).transpose() {
        Ok(spec) => spec,
        Err(problem) => return Order::Unreadable { attempt, task_id, container, problem },
    };
    let arguments =
        if assign.fetch_arguments { Arguments::Fetch } else { Arguments::Here(assign.arguments) };
    let call = Call {
        attempt,
        task_id: assign.task_id,
        arguments,
        timeout: (assign.timeout_millis > 0).then(|| Duration::from_millis(assign.timeout_millis)),
        job_token: assign.job_token,
        attempt_number: assign.attempt_number,
        warm_up: assign.warm_up,
    };
    Order::Assign { container, spec: spec.map(Box::new), call }
}

fn container_spec(spec: wire::ContainerSpec) -> Result<ContainerSpec, String> {
    let object = match spec.object_id.as_str() {
        "" => None,
        id => Some(id.parse().map_err(|error: metal9_types::IdError| error.to_string())?),
    };
    Ok(ContainerSpec {
        stub: spec.stub_id.parse::<StubId>().map_err(|error| error.to_string())?,
        container_name: spec.container_name,
        stub_type: spec.stub_type,
        object,
        handler: spec.handler,
        on_start: spec.on_start,
        callback_url: spec.callback_url,
        env: spec.env.into_iter().map(|entry| (entry.name, entry.value)).collect(),
        memory_mib: spec.memory_mib,
        cpu_millicores: spec.cpu_millicores,
        inputs_schema: spec.inputs_schema,
        outputs_schema: spec.outputs_schema,
        image_spec: spec.image_spec,
        lock: spec.lock.map(env_lock).transpose()?,
        timeout_seconds: spec.timeout_seconds,
        keep_warm_seconds: spec.keep_warm_seconds,
        devices: spec.devices.iter().filter_map(|&place| usize::try_from(place).ok()).collect(),
        network: if spec.block_network { Network::None } else { Network::Full },
        allow_list: allow_list(&spec.allow_list)?,
        volumes: spec.volumes.into_iter().map(mount).collect::<Result<_, _>>()?,
        buckets: spec
            .buckets
            .into_iter()
            .map(|mount| bucket(&spec.workspace_id, mount))
            .collect::<Result<_, _>>()?,
        shared: SharedDisk { root: spec.volumes_root.into(), marker: spec.volumes_marker },
        juicefs: spec.juicefs.map(|told| Access::told(told.metadata_url, told.password)),
        processes: spec.serving_processes,
        means: means(spec.root_means),
    })
}

fn means(told: Option<wire::RootMeans>) -> Means {
    let pairs =
        |list: Vec<wire::EnvVar>| list.into_iter().map(|entry| (entry.name, entry.value)).collect();
    let told = told.unwrap_or_default();
    Means { credentials: pairs(told.credentials), secrets: pairs(told.secrets) }
}

fn allow_list(entries: &[String]) -> Result<Option<AllowList>, String> {
    let list = AllowList::parse(entries).map_err(|error| error.to_string())?;
    Ok(Some(list).filter(|_| !entries.is_empty()))
}

fn mount(mount: wire::VolumeMount) -> Result<Mount, String> {
    Ok(Mount {
        volume: mount.volume_id.parse::<VolumeId>().map_err(|error| error.to_string())?,
        name: mount.name,
        place: MountPath::parse(&mount.mount_path).map_err(|error| error.to_string())?,
    })
}

fn bucket(workspace: &str, mount: wire::BucketMount) -> Result<Bucket, String> {
    let keys = Keys { access: mount.access_key, secret: mount.secret_key };
    Ok(Bucket {
        workspace: workspace.to_owned(),
        name: mount.bucket,
        prefix: VolumePath::parse(&mount.prefix).map_err(|error| error.to_string())?,
        place: MountPath::parse(&mount.mount_path).map_err(|error| error.to_string())?,
        endpoint: mount.endpoint,
        region: mount.region,
        path_style: mount.path_style,
        keys: Some(keys).filter(|keys| !keys.access.is_empty()),
    })
}

fn env_lock(lock: wire::Lock) -> Result<EnvLock, String> {
    Ok(EnvLock {
        platform: lock.platform.parse()?,
        python: lock.python,
        requirements: lock.requirements,
        macos: lock.macos.parse().ok(),
        root: lock.root.map(|root| RootLock { base: root.base }),
    })
}

#[cfg(test)]
mod tests;
