//! Durable state: tasks, stubs, tokens and secrets in SQLite; objects and task logs in files.
//!
//! One process has a state directory at a time:
//!
//! | file | what it holds |
//! |---|---|
//! | `lock` | the process that has it |
//! | `secret.key` | the key all other keys are made from |
//! | `state.db` | everything with rows |
//! | `objects/` | code archives, outputs of tasks |
//! | `logs/` | one file per task that has written something |
//!
//! All changes go through one writer that commits them in groups; a call that changes something
//! returns when the change is on disk.

#![forbid(unsafe_code)]

mod audit;
mod by;
mod cache;
mod clock;
mod columns;
mod data;
mod deployments;
mod directory;
mod error;
mod identity;
mod images;
mod keys;
mod logs;
mod most;
mod objects;
mod outputs;
mod pools;
mod retention;
mod rotation;
mod rows;
mod schedules;
mod secrets;
mod served;
mod shrink;
mod store;
mod stubs;
mod tasks;
mod volumes;
mod workers;
mod workspaces;
mod writer;

pub use audit::{Actor, AuditEntry, AuditFilter, AuditRow};
pub use by::{By, JoinTokenRow};
pub use data::{
    LONGEST_KEY, LONGEST_NAME, LONGEST_TTL_SECONDS, MAX_MAP_VALUE_BYTES, MAX_QUEUE_VALUE_BYTES,
    Quota,
};
pub use deployments::{DeploymentChange, DeploymentFilter, DeploymentRow, NewDeployment};
pub use error::StoreError;
pub use logs::{Appended, LOG_LIMIT_BYTES, LogPiece, LogStream, TaskLogs};
pub use objects::{ObjectStream, ObjectUpload};
pub use outputs::{MAX_OUTPUT_BYTES, OutputRow, OutputUpload};
pub use pools::{PoolRow, PoolUser};
pub use retention::{Forgotten, TASK_ROW_BYTES, Unused};
pub use rows::{
    Accepted, Bootstrap, Changed, Identity, Joined, NewTask, NewToken, RequestRow, SecretInfo,
    SecretRow, StubRow, TaskChange, TaskFilter, TaskRow, TokenKind, TokenRow, UnixMicros,
    WorkerRow,
};
pub use schedules::ScheduleRow;
pub use served::ServedContainer;
pub use store::Store;
pub use volumes::{UploadRow, VolumeRow};
pub use workspaces::{WorkspaceLimits, WorkspaceRow};
