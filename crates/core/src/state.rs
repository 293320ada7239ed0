//! What the scheduler remembers.

pub(crate) mod changes;
pub(crate) mod class;
pub(crate) mod container;
pub(crate) mod deadlines;
pub(crate) mod device;
pub(crate) mod group;
pub(crate) mod ids;
pub(crate) mod map;
pub(crate) mod shape;
pub(crate) mod share;
pub(crate) mod stub;
pub(crate) mod task;
pub(crate) mod worker;

pub(crate) use changes::Changes;
pub(crate) use class::{Class, ClassKey};
pub(crate) use container::{Container, ContainerState};
pub(crate) use deadlines::{Deadline, Deadlines};
pub(crate) use device::{Holder, Strain, strain};
pub(crate) use group::{Group, GroupKey, Place, Reason, Waiting};
pub(crate) use ids::Ids;
pub(crate) use map::Map;
pub(crate) use shape::{Outlook, Shape, ShapeKey};
pub(crate) use share::Share;
pub(crate) use stub::Stub;
pub(crate) use task::{Assigned, Queued, Task, TaskState};
pub(crate) use worker::{Reservation, Worker};
