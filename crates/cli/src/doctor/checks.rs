//! What facts mean.

mod containers;
mod directory;
mod gateway;
mod isolation;
mod machine;
mod membership;
mod power;
mod programs;
mod service;

#[cfg(test)]
mod tests;

use super::facts::{Facts, WorkerFacts};
use crate::report::Check;

/// All checks, in the order in which a person would mend things.
pub(crate) fn checks(facts: &Facts) -> Vec<Check> {
    let worker = &facts.worker;
    let mut checks = machine::checks(facts);
    checks.push(directory::check("worker state", &worker.state, directory::WORKER_MIB));
    checks.extend(programs::checks(&worker.programs, facts.is_mac));
    checks.extend(isolation::checks(worker, facts.is_mac));
    checks.push(juicefs(worker));
    checks.extend(membership::checks(&worker.membership));
    checks.extend(service::checks(&worker.service));
    checks.extend(facts.power.iter().flat_map(|power| power::checks(power, &worker.service)));
    checks.extend(facts.gateway.iter().flat_map(gateway::checks));
    checks
}

/// Copies always work, so this is for information.
fn juicefs(worker: &WorkerFacts) -> Check {
    match &worker.juicefs {
        None => Check::ok("juicefs", "a gateway's JuiceFS file system can be mounted for jobs"),
        Some(why) => Check::skipped("juicefs", format!("jobs would work on copies: {why}")),
    }
}
