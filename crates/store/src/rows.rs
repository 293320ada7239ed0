//! What the store is given and what it gives back.

use bytes::Bytes;
use metal9_types::{
    AttemptId, ContainerId, Failure, Phase, SecretId, StubConfig, StubId, StubKind, TaskId,
    TaskStatus, TokenId, WorkerId, WorkspaceId,
};
use uuid::Uuid;

/// Microseconds since 1970-01-01 00:00 UTC.
pub type UnixMicros = i64;

/// What [`crate::Store::bootstrap`] made.
#[derive(Clone, PartialEq, Eq)]
pub struct Bootstrap {
    /// The first workspace.
    pub workspace: WorkspaceId,
    /// Its primary token, told this once.
    pub token: String,
}

/// What a token may do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TokenKind {
    /// The workspace's own; the last active one cannot be taken away.
    WorkspacePrimary,
    /// A further one with the same rights.
    Workspace,
    /// One that may call but not administer.
    WorkspaceRestricted,
}

impl TokenKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::WorkspacePrimary, Self::Workspace, Self::WorkspaceRestricted];

    /// The kind's name in the client API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WorkspacePrimary => "workspace_primary",
            Self::Workspace => "workspace",
            Self::WorkspaceRestricted => "workspace_restricted",
        }
    }

    /// Reads [`TokenKind::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Who a bearer token speaks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its name.
    pub workspace_name: String,
    /// The token's public name.
    pub token: TokenId,
    /// What the token may do.
    pub kind: TokenKind,
    /// When it runs out, if it does.
    pub expires_at: Option<UnixMicros>,
}

/// A bearer token that is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewToken {
    /// What it may do.
    pub kind: TokenKind,
    /// What it is for; empty if nobody said.
    pub name: String,
    /// How long it may be used; nothing for as long as it is there.
    pub ttl: Option<std::time::Duration>,
}

/// A bearer token, without its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenRow {
    /// Its public name.
    pub id: TokenId,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// What it may do.
    pub kind: TokenKind,
    /// `false` if it is switched off.
    pub active: bool,
    /// What it is for; empty if nobody said.
    pub name: String,
    /// When it runs out, if it does.
    pub expires_at: Option<UnixMicros>,
    /// `true` if it may be used more than once.
    pub reusable: bool,
    /// When it was made.
    pub created_at: UnixMicros,
    /// When it last changed.
    pub updated_at: UnixMicros,
}

/// What a worker gets when it joins.
#[derive(Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its new id.
    pub worker: WorkerId,
    /// Its credential, told this once.
    pub credential: String,
    /// The pool it is in.
    pub pool: String,
}

/// A worker that has joined, connected or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerRow {
    /// Its id.
    pub id: WorkerId,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// The pool it is in.
    pub pool: String,
    /// The machine's name when it joined.
    pub hostname: String,
    /// When it joined.
    pub joined_at: UnixMicros,
    /// When it last said something; the time it joined until then.
    pub last_seen: UnixMicros,
    /// `true` if it is to get nothing new.
    pub cordoned: bool,
    /// Until when its running calls may go on, while it is being emptied.
    pub drain_until: Option<UnixMicros>,
    /// When it last got a new credential, if it did.
    pub rotated_at: Option<UnixMicros>,
    /// When it was shut out, if it was.
    pub revoked_at: Option<UnixMicros>,
    /// The join token that it came with, if that was for it alone.
    pub join_token: Option<Uuid>,
}

/// A stub.
#[derive(Clone, PartialEq, Debug)]
pub struct StubRow {
    /// Its id.
    pub id: StubId,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// All that makes it.
    pub config: StubConfig,
    /// When it was made.
    pub created_at: UnixMicros,
}

/// A task to be accepted.
#[derive(Clone, PartialEq, Eq)]
pub struct NewTask {
    /// Its id.
    pub id: TaskId,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// Its stub, of the same workspace.
    pub stub: StubId,
    /// The call's arguments as the client sent them.
    pub arguments: Bytes,
    /// `true` if it goes on when the caller has gone.
    pub headless: bool,
    /// The client's own name for this call; a second one of the same name is a duplicate.
    pub request_id: Option<String>,
}

/// A request to an endpoint, as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestRow {
    /// The id of its task.
    pub id: TaskId,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// Its stub, of the same workspace.
    pub stub: StubId,
    /// Its state.
    pub status: TaskStatus,
    /// The worker that serves it.
    pub worker: Option<WorkerId>,
    /// The container that serves it.
    pub container: Option<ContainerId>,
    /// Why it was not answered as it should.
    pub failure: Option<Failure>,
    /// When it arrived.
    pub created_at: UnixMicros,
    /// When a container took it.
    pub started_at: Option<UnixMicros>,
    /// When it ended.
    pub ended_at: Option<UnixMicros>,
}

/// How [`crate::Store::accept_task`] went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepted {
    /// It is on disk.
    New,
    /// Its id or request id was there already, under this task.
    Duplicate(TaskId),
}

/// A task's new state.
#[derive(Clone, PartialEq, Eq)]
pub struct TaskChange {
    /// The task.
    pub task: TaskId,
    /// Its new state.
    pub status: TaskStatus,
    /// Attempts begun so far.
    pub attempts_used: u32,
    /// The attempt that brought it there; nothing keeps what is stored.
    pub attempt: Option<AttemptId>,
    /// The worker of the attempt; nothing keeps what is stored.
    pub worker: Option<WorkerId>,
    /// The container of the attempt; nothing keeps what is stored.
    pub container: Option<ContainerId>,
    /// Why, for `Retry` and the terminal states other than `Complete`; nothing clears what is stored.
    pub failure: Option<Failure>,
    /// Where the attempt's time went; empty keeps what is stored.
    pub phases: Vec<Phase>,
    /// What the function returned; kept for terminal states only.
    pub result: Option<Bytes>,
}

/// How [`crate::Store::transition`] went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Changed {
    /// The new state is on disk.
    Applied,
    /// The task had ended; nothing was changed.
    AlreadyTerminal,
    /// There is no such task.
    Unknown,
}

/// A task, without its arguments and its result.
#[derive(Clone, PartialEq, Debug)]
pub struct TaskRow {
    /// Its id.
    pub id: TaskId,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// Its stub.
    pub stub: StubId,
    /// Its stub's name.
    pub stub_name: String,
    /// What its stub is.
    pub kind: StubKind,
    /// Its state.
    pub status: TaskStatus,
    /// Attempts begun so far.
    pub attempts_used: u32,
    /// The latest attempt.
    pub attempt: Option<AttemptId>,
    /// The worker of the latest attempt.
    pub worker: Option<WorkerId>,
    /// The container of the latest attempt.
    pub container: Option<ContainerId>,
    /// `true` if it goes on when the caller has gone.
    pub headless: bool,
    /// Why it is to be retried or did not return a value.
    pub failure: Option<Failure>,
    /// Where the latest attempt's time went.
    pub phases: Vec<Phase>,
    /// When it was accepted.
    pub created_at: UnixMicros,
    /// When it last changed.
    pub updated_at: UnixMicros,
    /// When it was first running.
    pub started_at: Option<UnixMicros>,
    /// When it ended.
    pub ended_at: Option<UnixMicros>,
}

/// Which tasks to list; an empty list of a field lets every value pass.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TaskFilter {
    /// These tasks.
    pub ids: Vec<TaskId>,
    /// In one of these states.
    pub statuses: Vec<TaskStatus>,
    /// Of one of these stubs.
    pub stubs: Vec<StubId>,
    /// Of a stub with one of these names.
    pub stub_names: Vec<String>,
    /// Of a stub of one of these applications.
    pub apps: Vec<String>,
    /// In one of these containers.
    pub containers: Vec<ContainerId>,
    /// At most this many; 0 means 1000.
    pub limit: u32,
}

/// A secret with its value.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretRow {
    /// Its id.
    pub id: SecretId,
    /// Its name, which is also the environment variable's.
    pub name: String,
    /// Its value.
    pub value: String,
    /// When it was made.
    pub created_at: UnixMicros,
    /// When it last changed.
    pub updated_at: UnixMicros,
}

/// A secret without its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecretInfo {
    /// Its id.
    pub id: SecretId,
    /// Its name, which is also the environment variable's.
    pub name: String,
    /// When it was made.
    pub created_at: UnixMicros,
    /// When it last changed.
    pub updated_at: UnixMicros,
}

/// `Debug` without what is secret or may be large.
macro_rules! debug_some_fields {
    ($name:ident { $($shown:ident),* }) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))
                    $(.field(stringify!($shown), &self.$shown))*
                    .finish_non_exhaustive()
            }
        }
    };
}

debug_some_fields!(Bootstrap { workspace });
debug_some_fields!(Joined { worker, pool });
debug_some_fields!(SecretRow { id, name, created_at, updated_at });
debug_some_fields!(NewTask { id, workspace, stub, headless, request_id });
debug_some_fields!(TaskChange {
    task,
    status,
    attempts_used,
    attempt,
    worker,
    container,
    failure,
    phases
});
