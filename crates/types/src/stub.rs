//! One configured unit of work.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{GpuRequest, ImageId, ObjectId, Resources};

/// What a stub is for. The texts are the client API's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StubKind {
    /// A function that is called.
    Function,
}

impl StubKind {
    /// Reads the client API's `stub_type`; nothing for a kind this version does not run.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "function" => Some(Self::Function),
            _ => None,
        }
    }

    /// The kind's name in the client API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Function => "function",
        }
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

/// All that makes one stub. Two stubs with equal configuration are the same stub.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StubConfig {
    /// What it is for.
    pub kind: StubKind,
    /// Its name, as `function/app:square`.
    pub name: String,
    /// The application it belongs to.
    pub app: String,
    /// The code archive.
    pub object: ObjectId,
    /// The environment.
    pub image: ImageId,
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
    /// Networks the job may reach although `block_network` is set.
    pub allow_list: Vec<String>,
    /// The client's free-form JSON.
    pub extra: String,
}
