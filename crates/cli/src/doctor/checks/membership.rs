//! What the worker has joined, and whether the gateway knows it.

use crate::doctor::facts::{Answer, Membership};
use crate::report::Check;

/// Seconds that clocks may differ before certificates and expiry become a matter of luck.
const CLOCKS_WARN: u64 = 30;

const JOIN: &str = "`metal9 token join` on the gateway prints the command that joins";

pub(super) fn checks(membership: &Membership) -> Vec<Check> {
    let (pool, gateway, is_private, answer) = match membership {
        Membership::None => {
            return vec![Check::warn("joined", "this machine has not joined a gateway").fix(JOIN)];
        }
        Membership::Unreadable(reason) => return vec![Check::fail("joined", reason).fix(JOIN)],
        Membership::Joined { pool, gateway, is_private, answer } => {
            (pool, gateway, *is_private, answer)
        }
    };
    let mut checks = vec![Check::ok("joined", format!("pool {pool} of {gateway}"))];
    let how = if is_private { "over TLS" } else { "in plain text" };
    match answer {
        Answer::Known { took_ms, clock_ahead } => {
            checks.push(Check::ok("gateway", format!("answers {how} after {took_ms} ms")));
            checks.push(Check::ok("credential", "the gateway accepts it"));
            checks.extend(clock_ahead.map(clocks));
        }
        Answer::Refused(reason) => {
            checks.push(Check::ok("gateway", format!("answers {how}")));
            checks.push(Check::fail("credential", reason).fix(format!("join again: {JOIN}")));
        }
        Answer::Failed(reason, fix) => {
            let check = Check::fail("gateway", reason);
            let usual = "is the gateway running, and does a firewall let this machine reach it?";
            checks.push(check.fix(fix.as_deref().unwrap_or(usual)));
        }
    }
    checks
}

fn clocks(ahead: i64) -> Check {
    let apart = ahead.unsigned_abs();
    // The gateway tells whole seconds.
    if apart <= 1 {
        return Check::ok("clock", "as the gateway's");
    }
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    let found = format!("the gateway's clock is {apart} s {side} this machine's");
    if apart > CLOCKS_WARN {
        return Check::warn("clock", found).fix("let both machines set their clocks by NTP");
    }
    Check::ok("clock", found)
}
