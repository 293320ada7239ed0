//! What the scheduler remembers.

pub(crate) mod changes;
pub(crate) mod container;
pub(crate) mod deadlines;
pub(crate) mod group;
pub(crate) mod ids;
pub(crate) mod stub;
pub(crate) mod task;
pub(crate) mod worker;

pub(crate) use changes::Changes;
pub(crate) use container::{Container, ContainerState};
pub(crate) use deadlines::{Deadline, Deadlines};
pub(crate) use group::{Group, GroupKey, Reason};
pub(crate) use ids::Ids;
pub(crate) use stub::Stub;
pub(crate) use task::{Assigned, Queued, Task, TaskState};
pub(crate) use worker::{Reservation, Worker};
