//! Sentences about kinds of workers: how they isolate jobs, and what they can do because of that.

use std::collections::BTreeSet;

use metal9_types::{RootSource, Runtime};

use super::{Survey, workers};
use crate::StubSpec;
use crate::core::Core;
use crate::place::Obstacle;

/// No worker is of the kind that the stub needs, and this is what those lack that come closest.
pub(super) fn verdict(survey: &Survey, core: &Core, obstacle: Obstacle, spec: &StubSpec) -> String {
    let count = survey.count(obstacle);
    let (all, have) = (workers(count), if count == 1 { "has" } else { "have" });
    match obstacle {
        Obstacle::Runtime => runtime(survey, core, spec),
        Obstacle::AllowList => format!(
            "the function has an `allow_list`, which takes a worker whose containers have networks of \
             their own (`runtime = \"runc\"` or \"runsc\", and `worker.network` is \"full\"); {all} \
             {have} none"
        ),
        _ if spec.root == RootSource::Built => format!(
            "the image has to be built, which takes a worker with containers (`runtime = \"runc\"` or \
             \"runsc\") and buildah; {all} {have} none"
        ),
        _ => format!(
            "the image is the root of a container, which takes a worker with containers (`runtime = \
             \"runc\"` or \"runsc\"); {all} {have} none"
        ),
    }
}

fn runtime(survey: &Survey, core: &Core, spec: &StubSpec) -> String {
    let others: BTreeSet<Runtime> = survey
        .obstacles
        .get(&Obstacle::Runtime)
        .into_iter()
        .flatten()
        .filter_map(|id| core.workers.get(id))
        .flat_map(|worker| worker.offer.runtimes.iter().copied())
        .collect();
    let others: Vec<_> = others.into_iter().map(Runtime::as_str).collect();
    let within = match &spec.pool {
        Some(pool) => format!("of pool \"{pool}\" "),
        None => String::new(),
    };
    format!(
        "needs runtime \"{}\"; {} {within}{} {}",
        asked(spec),
        workers(survey.count(Obstacle::Runtime)),
        if survey.count(Obstacle::Runtime) == 1 { "has" } else { "have" },
        others.join(" or "),
    )
}

fn asked(spec: &StubSpec) -> &'static str {
    spec.runtime.map_or("any", Runtime::as_str)
}

/// What such an obstacle is called in the details.
pub(super) fn told(obstacle: Obstacle, spec: &StubSpec) -> String {
    match obstacle {
        Obstacle::Runtime => format!("without runtime \"{}\"", asked(spec)),
        Obstacle::AllowList => "that cannot hold a job to an `allow_list`".into(),
        _ if spec.root == RootSource::Built => {
            "whose containers cannot have an image that is built".into()
        }
        _ => "without containers that have an image".into(),
    }
}
