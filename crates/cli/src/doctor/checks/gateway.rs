//! What a gateway needs.

use super::directory;
use crate::doctor::facts::{Door, GatewayFacts};
use crate::report::Check;

pub(super) fn checks(gateway: &GatewayFacts) -> Vec<Check> {
    let mut checks = vec![directory::check("gateway state", &gateway.state, gateway.min_free_mib)];
    checks.push(match gateway.key_is_open {
        true => Check::fail("secret key", "others than its owner can read it").fix(
            "`chmod 600` the file `secret.key`, and replace the key: `metal9 gateway rotate-key`",
        ),
        false => Check::ok("secret key", "only its owner can read it"),
    });
    checks.extend(running(gateway));
    checks.push(tls(gateway));
    checks.extend(gateway.juicefs.as_ref().map(juicefs));
    checks
}

fn running(gateway: &GatewayFacts) -> Vec<Check> {
    let Some(pid) = gateway.running else {
        return gateway.doors.iter().map(door).collect();
    };
    let name = "gateway runs";
    vec![match &gateway.health {
        Some(Err(reason)) => Check::fail(name, format!("process {pid} does not answer: {reason}")),
        Some(Ok(())) => Check::ok(name, format!("process {pid} answers")),
        None => Check::ok(name, format!("process {pid}")),
    }]
}

fn door(door: &Door) -> Check {
    let Door { name, address, taken } = door;
    match taken {
        None => Check::ok(name, format!("{address} is free; the gateway does not run")),
        Some(why) => Check::fail(name, format!("{address} cannot be served: {why}"))
            .fix("stop what listens there, or choose another address with --grpc or --http"),
    }
}

fn juicefs(found: &Result<String, String>) -> Check {
    match found {
        Ok(url) => Check::ok("juicefs", format!("can be mounted; its metadata is at {url}")),
        Err(why) => Check::fail("juicefs", format!("cannot be mounted: {why}"))
            .fix("mend that, or take juicefs.metadata away; see docs/volumes.md"),
    }
}

fn tls(gateway: &GatewayFacts) -> Check {
    let open = gateway.doors.iter().find(|door| !door.address.ip().is_loopback());
    match (gateway.tls, open) {
        (true, _) => Check::ok("tls", "on"),
        (false, None) => Check::ok("tls", "off; only this machine can connect"),
        (false, Some(door)) => {
            Check::warn("tls", format!("off, and other machines can connect to {}", door.address))
                .fix("`--tls self-signed`; see docs/identity.md")
        }
    }
}
