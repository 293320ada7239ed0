//! Words every crate shares: ids, resources, devices, states, failures.
//!
//! This crate is pure: it does no I/O, reads no clock and knows no wire format.
//! A type belongs here only when several crates need it.

#![forbid(unsafe_code)]

mod allow_list;
mod failure;
mod gpu;
pub mod gpu_names;
mod ids;
mod image;
mod machine;
mod macos;
mod moment;
mod names;
mod offer;
mod outcome;
mod resources;
mod root;
mod serving;
mod span;
mod status;
mod stub;

pub use allow_list::{AllowList, AllowListError, MOST_ALLOWED};
pub use failure::{Failure, FailureKind, Tier};
pub use gpu::{Device, GpuRequest, GpuSelector, Vendor};
pub use ids::{
    AttemptId, ContainerId, DeploymentId, IdError, ImageId, ObjectId, OutputId, SecretId,
    SessionId, StubId, TaskId, TokenId, UploadId, VolumeId, WorkerId, WorkspaceId,
};
pub use image::{BuildStep, EnvLock, ImageSpec, Platform, PythonVersion, Refusal, Target};
pub use machine::{Condition, DeviceUse, Machine, OnBattery, Power, Thermal};
pub use macos::MacosVersion;
pub use moment::Moment;
pub use names::names;
pub use offer::{Offer, Runtime};
pub use outcome::{CallOutcome, Phase};
pub use resources::Resources;
pub use root::{RootLock, RootSource};
pub use serving::Serving;
pub use span::seconds;
pub use status::TaskStatus;
pub use stub::{
    BucketKeys, BucketMount, Schema, SchemaField, Stage, StubConfig, StubKind, StubType,
    VolumeMount,
};
