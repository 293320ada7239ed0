//! What worker and runner say to each other.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};
use serde_bytes::ByteBuf;

/// Worker → runner.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ToRunner {
    /// Become this stub.
    Load(Box<Load>),
    /// Call the handler.
    Call(CallFrame),
    /// End the call: post the callback and raise `SystemExit`.
    Cancel { id: u64, reason: CancelReason },
    /// The code has changed: start it anew. Answered by [`FromRunner::Reloaded`].
    Reload,
    /// End the process.
    Shutdown,
}

/// Everything that makes a stub.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Load {
    pub(crate) handler: String,
    pub(crate) on_start: String,
    pub(crate) code_dir: String,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) container_id: String,
    pub(crate) stub_id: String,
    pub(crate) stub_type: String,
    pub(crate) python_version: String,
    /// Seconds; -1 for no limit.
    pub(crate) timeout: i64,
    /// Seconds.
    pub(crate) keep_warm: f32,
    pub(crate) callback_url: String,
    /// JSON, or nothing.
    pub(crate) inputs: String,
    /// JSON, or nothing.
    pub(crate) outputs: String,
    /// Processes that serve requests; 0 if the handler is called.
    pub(crate) processes: u32,
    /// Directories whose files others see only once the runner has had them written.
    pub(crate) settle: Vec<String>,
}

/// One call.
#[derive(Debug, Serialize)]
pub(crate) struct CallFrame {
    pub(crate) id: u64,
    pub(crate) task_id: String,
    pub(crate) token: String,
    #[serde(serialize_with = "bytes")]
    pub(crate) args: Bytes,
    pub(crate) attempt: u32,
}

fn bytes<S: Serializer>(value: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(value)
}

/// Why a call is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CancelReason {
    Cancelled,
    Timeout,
}

/// Runner → worker.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum FromRunner {
    /// The SDK is imported; the process can become any stub.
    Ready {
        pid: u32,
        python: String,
        #[serde(default)]
        versions: BTreeMap<String, String>,
    },
    /// The handler is there.
    Loaded { micros: u64 },
    /// It is not; the traceback is on stderr.
    LoadFailed { text: String },
    /// The user's code comes next.
    Started { id: u64 },
    /// The pickled return value.
    Result { id: u64, data: ByteBuf },
    /// The code is being started anew.
    Reloaded,
    /// There is none; the traceback is on stderr. A process that is spent takes no further call.
    Error {
        id: u64,
        kind: String,
        text: String,
        #[serde(default)]
        spent: bool,
    },
    /// A kind of a newer runner.
    #[serde(other)]
    Unknown,
}
