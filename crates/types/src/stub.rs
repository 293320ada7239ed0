//! One configured unit of work.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{GpuRequest, ImageId, ObjectId, Resources, RootSource, Serving, VolumeId};

/// What a stub is for. The texts are the client API's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StubKind {
    /// A function that is called.
    Function,
    /// A function that is called at the times of a schedule.
    Schedule,
    /// A function whose calls are put into a queue, with JSON for arguments and results.
    Taskqueue,
    /// A function behind HTTP.
    Endpoint,
    /// A web application.
    Asgi,
}

impl StubKind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Function, Self::Schedule, Self::Taskqueue, Self::Endpoint, Self::Asgi];

    /// Reads the kind's name; nothing for a kind this version does not run.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The kind's name in the client API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Schedule => "schedule",
            Self::Taskqueue => "taskqueue",
            Self::Endpoint => "endpoint",
            Self::Asgi => "asgi",
        }
    }

    /// `true` if it answers HTTP requests.
    #[must_use]
    pub fn is_served(self) -> bool {
        self.is_endpoint() || self.is_asgi()
    }

    /// `true` for a function behind HTTP.
    #[must_use]
    pub fn is_endpoint(self) -> bool {
        self == Self::Endpoint
    }

    /// `true` for a web application.
    #[must_use]
    pub fn is_asgi(self) -> bool {
        self == Self::Asgi
    }
}

/// What a stub was made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// To be called by the program that made it.
    #[default]
    Run,
    /// To stay, as a version of a deployment.
    Deployment,
    /// To be tried out while its code changes.
    Serve,
}

/// The client API's `stub_type`: a kind, and after a slash what it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StubType {
    /// What it is.
    pub kind: StubKind,
    /// What it is for.
    pub stage: Stage,
}

impl StubType {
    /// Reads the client API's text; nothing for one that this version does not run.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, stage) = match text.split_once('/') {
            None => (text, Stage::Run),
            Some((kind, "deployment")) => (kind, Stage::Deployment),
            Some((kind, "serve")) => (kind, Stage::Serve),
            Some(_) => return None,
        };
        StubKind::parse(kind).map(|kind| Self { kind, stage })
    }
}

impl fmt::Display for StubType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Run => "",
            Stage::Deployment => "/deployment",
            Stage::Serve => "/serve",
        };
        write!(f, "{}{stage}", self.kind.as_str())
    }
}

/// The type of one input or output of a function.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SchemaField {
    /// The SDK's class name, as `String`; `object` for a nested schema.
    #[serde(rename = "type")]
    pub kind: String,
    /// The fields of a nested schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Schema>,
}

/// Names and types of a function's inputs or outputs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Schema {
    /// By name.
    pub fields: BTreeMap<String, SchemaField>,
}

/// A volume of a stub.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VolumeMount {
    /// Which.
    pub volume: VolumeId,
    /// Its name when the stub was made, for messages.
    pub name: String,
    /// Where the job finds it, as the client wrote it.
    pub mount_path: String,
}

/// A bucket of an object store, which a stub reads as files.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BucketMount {
    /// Its name.
    pub bucket: String,
    /// What the names of the objects begin with that are wanted, whole parts; empty for all.
    pub prefix: String,
    /// Where the job finds it, as the client wrote it.
    pub mount_path: String,
    /// Where the object store is, as an address; empty for Amazon's.
    pub endpoint: String,
    /// Its region; empty for whichever there is.
    pub region: String,
    /// `true` if the bucket is named in the path of addresses, and not in the host.
    pub path_style: bool,
    /// Nothing for a bucket that is open to all.
    pub keys: Option<BucketKeys>,
}

/// The secrets that have the keys of a bucket, by name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BucketKeys {
    /// The access key's id.
    pub access: String,
    /// The secret access key.
    pub secret: String,
}

/// All that makes one stub. Two stubs with equal configuration are the same stub.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StubConfig {
    /// What it is.
    pub kind: StubKind,
    /// What it was made for.
    #[serde(default, skip_serializing_if = "is_run")]
    pub stage: Stage,
    /// How it takes calls, where it stays.
    #[serde(default, skip_serializing_if = "Serving::is_default")]
    pub serving: Serving,
    /// Its name, as `function/app:square`.
    pub name: String,
    /// The application it belongs to.
    pub app: String,
    /// The code archive.
    pub object: ObjectId,
    /// The environment.
    pub image: ImageId,
    /// What the image needs for a root filesystem.
    #[serde(default, skip_serializing_if = "is_host")]
    pub root: RootSource,
    /// `module.path:function`.
    pub handler: String,
    /// `module.path:function` run once per container before the first call; empty for none.
    pub on_start: String,
    /// Where results are posted; empty for none.
    pub callback_url: String,
    /// Environment variables, as the client sent them (references to secrets unresolved).
    pub env: Vec<(String, String)>,
    /// Names of secrets that become environment variables.
    pub secrets: Vec<String>,
    /// When the newest of the secrets it refers to was last changed, in Unix microseconds; 0 for
    /// none. Warm containers hold the values they were started with, so a changed secret must make
    /// another stub.
    #[serde(default)]
    pub secrets_changed_at: i64,
    /// Processor and memory of one container.
    pub resources: Resources,
    /// Accelerators of one container.
    pub gpu: GpuRequest,
    /// The pool to run in; nothing for any.
    pub pool: Option<String>,
    /// Seconds one call may run; nothing for no limit.
    pub timeout_seconds: Option<u64>,
    /// Seconds a task may wait to be begun.
    pub ttl_seconds: u64,
    /// Further attempts after the first.
    pub max_retries: u32,
    /// Seconds an idle container is kept.
    pub keep_warm_seconds: f32,
    /// Types of the inputs.
    pub inputs: Option<Schema>,
    /// Types of the outputs.
    pub outputs: Option<Schema>,
    /// `true` if the job may not use the network.
    pub block_network: bool,
    /// Networks the job may reach; empty for whatever its worker allows.
    pub allow_list: Vec<String>,
    /// Shared directories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeMount>,
    /// Buckets of object stores.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<BucketMount>,
    /// The client's free-form JSON.
    pub extra: String,
}

impl StubConfig {
    /// How its containers take requests, if they do rather than being called: what answers HTTP, and
    /// whatever a developer tries out.
    #[must_use]
    pub fn served(&self) -> Option<&Serving> {
        (self.kind.is_served() || self.is_developed()).then_some(&self.serving)
    }

    /// `true` if it runs from a developer's directory, while that changes.
    #[must_use]
    pub fn is_developed(&self) -> bool {
        self.stage == Stage::Serve
    }

    /// Its type in the client API.
    #[must_use]
    pub fn stub_type(&self) -> StubType {
        StubType { kind: self.kind, stage: self.stage }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_host(root: &RootSource) -> bool {
    *root == RootSource::Host
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_run(stage: &Stage) -> bool {
    *stage == Stage::Run
}
