//! A job without a network has none.

use anyhow::{Result, bail};
use metal9_sandbox::Network;
use serde_json::json;

use super::Found;
use crate::selftest::client::{Ask, found, tail};
use crate::selftest::jobs::Jobs;

/// Lets jobs connect to a port of this machine that is open: one under the worker's policy, and one
/// without a network.
pub(in crate::selftest) async fn network(
    jobs: &Jobs,
    policy: Network,
    (host, port): (&str, u16),
) -> Result<Found> {
    let to = json!({ "host": host, "port": port });
    let plain = connected(jobs, &Ask::new("connect"), &to).await?;
    if plain.as_ref().is_ok_and(|connected| *connected) != (policy == Network::Full) {
        let found = plain.map_or_else(|reason| reason, |it| format!("connected: {it}"));
        return Ok(Found::fail(format!("under the policy `{policy}` a job found {found}")));
    }
    let blocked = Ask { block_network: true, ..Ask::new("connect") };
    Ok(match connected(jobs, &blocked, &to).await? {
        Ok(false) => Found::ok(format!(
            "policy `{policy}`; a job with `block_network` cannot reach a port that is open"
        )),
        Ok(true) => Found::fail("a job with `block_network` has reached a port of this machine"),
        Err(reason) => Found::warn(format!("jobs with `block_network` are refused: {reason}")),
    })
}

/// Whether a job could connect; the reason, if the worker did not run it.
async fn connected(jobs: &Jobs, ask: &Ask, to: &serde_json::Value) -> Result<Result<bool, String>> {
    let end = jobs.run(ask, to.clone()).await?;
    match found(&end.output, 1) {
        Some(said) => Ok(Ok(said["connected"] == true)),
        None if end.exit_code != 0 => Ok(Err(tail(&end.output).to_owned())),
        None => bail!("the job said nothing: {}", tail(&end.output)),
    }
}
