//! Stubs that are alike to placement.

use std::collections::BTreeSet;

use metal9_types::{GpuRequest, Resources, RootSource, Runtime};

use super::class::Asking;
use super::{GroupKey, Reason};
use crate::StubSpec;

/// What makes stubs alike: all that decides where their containers can run. What is found out for
/// one of them holds for all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ShapeKey {
    resources: Resources,
    gpu: GpuRequest,
    pool: Option<String>,
    runtime: Option<Runtime>,
    root: RootSource,
    allow_list: bool,
}

impl ShapeKey {
    pub(crate) fn of(spec: &StubSpec) -> Self {
        Self {
            resources: spec.resources,
            gpu: spec.gpu.clone(),
            pool: spec.pool.clone(),
            runtime: spec.runtime,
            root: spec.root,
            allow_list: spec.allow_list,
        }
    }
}

/// What was found out about a shape when the fleet last changed.
#[derive(Clone, Debug)]
pub(crate) struct Outlook {
    /// The state of the fleet it holds for.
    pub(crate) fleet: u64,
    pub(crate) reason: Reason,
    /// Workers that could run it.
    pub(crate) able: usize,
}

/// A shape.
#[derive(Debug)]
pub(crate) struct Shape {
    /// One of its stubs.
    pub(crate) spec: StubSpec,
    /// What one of its containers costs.
    pub(crate) cost: u64,
    /// Classes of workers that could run it, were they large enough, the best first.
    pub(crate) classes: Vec<usize>,
    /// Queues for which all workers were looked at and none had room.
    pub(crate) blocked: BTreeSet<GroupKey>,
    /// `true` if no worker has room, and none can be made, except where room has appeared since:
    /// that is offered to `blocked` at once.
    pub(crate) full: bool,
    pub(crate) outlook: Option<Outlook>,
}

impl Shape {
    pub(crate) fn asking(&self, shape: usize) -> Asking {
        let Resources { cpu_millicores, memory_mib } = self.spec.resources;
        Asking { cpu: cpu_millicores, memory: memory_mib, shape }
    }
}
