//! What makes containers of jobs.

use metal9_worker::Containers;

use crate::doctor::facts::NoContainers;
use crate::report::Check;

/// `required` is whether a worker does not start with less than full isolation.
pub(super) fn checks(found: &Result<Containers, NoContainers>, required: bool) -> Vec<Check> {
    let containers = match found {
        Ok(containers) => containers,
        Err(none) => return vec![missing(none)],
    };
    let mut checks =
        vec![runtime(containers, required), networks(containers, required), images(containers)];
    checks.extend(containers.no_service.as_deref().map(endpoints));
    checks
}

fn missing(none: &NoContainers) -> Check {
    let NoContainers { runtime, why, is_missing, is_root } = none;
    let check = Check::fail("containers", why);
    match (is_missing, is_root) {
        (true, _) => check.fix(format!(
            "`apt-get install {runtime}`, or put it on the search path; or let jobs be processes of \
             this machine: `runtime = \"native\"`"
        )),
        (false, false) => check.fix("only root makes containers: `sudo metal9 doctor`"),
        (false, true) => check.fix("docs/containers.md says what a container takes"),
    }
}

/// Something that is missing from full isolation.
fn gap(name: &'static str, found: String, required: bool) -> Check {
    if required { Check::fail(name, found) } else { Check::warn(name, found) }
}

fn runtime(containers: &Containers, required: bool) -> Check {
    let (name, runtime) = ("containers", &containers.runtime);
    if containers.own_users {
        return Check::ok(name, format!("{runtime} starts them"));
    }
    let found = format!("{runtime} starts them, but not with users of their own: root is root");
    gap(name, found, required)
        .fix("let the kernel make user namespaces: see `sysctl user.max_user_namespaces`")
}

fn networks(containers: &Containers, required: bool) -> Check {
    let name = "networks";
    match &containers.no_network {
        None => Check::ok(name, "each container has one of its own"),
        Some(why) => gap(name, format!("containers share the machine's: {why}"), required)
            .fix("`apt-get install iproute2 nftables`, and a kernel with veth and nf_tables"),
    }
}

fn images(containers: &Containers) -> Check {
    let name = "images";
    match (&containers.no_images, containers.builds) {
        (Some(why), _) => Check::warn(name, format!("they cannot be had: {why}"))
            .fix("overlayfs mounts them: `modprobe overlay`"),
        (None, true) => Check::ok(name, "they are pulled, and built by buildah"),
        (None, false) => {
            Check::skipped(name, "they are pulled; without buildah none is built here")
                .fix("`apt-get install buildah`")
        }
    }
}

/// What it says has its own advice.
fn endpoints(why: &str) -> Check {
    let (found, fix) = why.split_once("\nhint: ").unwrap_or((why, "see docs/containers.md"));
    Check::warn("endpoints", found).fix(fix)
}
