//! The gateway's metrics: names, units and meanings in one place.

use std::sync::OnceLock;
use std::time::Duration;

use metal9_tasks::CancellationToken;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

/// Tasks accepted.
pub(crate) const TASKS_ACCEPTED: &str = "metal9_tasks_accepted_total";
/// Tasks ended, by status.
pub(crate) const TASKS_ENDED: &str = "metal9_tasks_ended_total";
/// Tries to store an end that failed; each is tried again.
pub(crate) const ENDS_NOT_STORED: &str = "metal9_ends_not_stored_total";
/// Seconds from a call's arrival until it is durable.
pub(crate) const ACCEPT_SECONDS: &str = "metal9_accept_seconds";
/// Tasks that have not ended.
pub(crate) const TASKS_LIVE: &str = "metal9_tasks_live";
/// Connected workers.
pub(crate) const WORKERS_CONNECTED: &str = "metal9_workers_connected";
/// Workers given up.
pub(crate) const WORKERS_LOST: &str = "metal9_workers_lost_total";
/// Connections closed because there was no room for them.
pub(crate) const CONNECTIONS_REFUSED: &str = "metal9_connections_refused_total";
/// Calls refused because their workspace or the disk had no room, by what was short.
pub(crate) const CALLS_REFUSED: &str = "metal9_calls_refused_total";
/// Requests refused because their workspace made too many a second.
pub(crate) const REQUESTS_LIMITED: &str = "metal9_requests_limited_total";
/// Tokens, credentials and join tokens that were refused, by kind.
pub(crate) const AUTH_FAILURES: &str = "metal9_auth_failures_total";
/// Inputs the scheduler ignored, by reason.
pub(crate) const IGNORED_INPUTS: &str = "metal9_scheduler_ignored_inputs_total";
/// Sampled checks of the scheduler's books that failed.
pub(crate) const INVARIANT_VIOLATIONS: &str = "metal9_scheduler_invariant_violations_total";

/// Requests to endpoints that have not ended, by whether they wait or run.
pub(crate) const REQUESTS: &str = "metal9_requests";
/// Seconds from a request's arrival to the end of its answer.
pub(crate) const REQUEST_SECONDS: &str = "metal9_request_seconds";

/// Bounds that durations are counted by, in seconds.
const BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// How long measurements lie where they were put down.
const UPKEEP: Duration = Duration::from_secs(5);

/// The process's one recorder, installed at first use.
pub(crate) fn recorder() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE
        .get_or_init(|| match install() {
            Ok(handle) => {
                describe();
                Some(handle)
            }
            Err(error) => {
                tracing::warn!(%error, "metrics are off");
                None
            }
        })
        .as_ref()
}

fn install() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder()
}

/// Takes what was measured out of where it was put down, until `shutdown`: else it stays there one by
/// one until somebody reads the metrics.
pub(crate) async fn keep_up(shutdown: CancellationToken) {
    let Some(recorder) = recorder() else { return };
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            _ = ticks.tick() => recorder.run_upkeep(),
            () = shutdown.cancelled() => return,
        }
    }
}

fn describe() {
    describe_counter!(TASKS_ACCEPTED, Unit::Count, "tasks accepted");
    describe_counter!(AUTH_FAILURES, Unit::Count, "tokens and credentials refused, by kind");
    describe_counter!(TASKS_ENDED, Unit::Count, "tasks ended, by status");
    describe_counter!(ENDS_NOT_STORED, Unit::Count, "failed tries to store an end");
    describe_histogram!(ACCEPT_SECONDS, Unit::Seconds, "from a call's arrival until it is durable");
    describe_gauge!(TASKS_LIVE, Unit::Count, "tasks that have not ended");
    describe_gauge!(WORKERS_CONNECTED, Unit::Count, "connected workers");
    describe_counter!(WORKERS_LOST, Unit::Count, "workers given up after silence");
    describe_counter!(CONNECTIONS_REFUSED, Unit::Count, "connections closed for want of room");
    describe_gauge!(REQUESTS, Unit::Count, "requests to endpoints that wait, and that run");
    describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "from a request's arrival to its end");
    describe_counter!(CALLS_REFUSED, Unit::Count, "calls refused for want of room");
    describe_counter!(
        REQUESTS_LIMITED,
        Unit::Count,
        "requests refused for being too many a second"
    );
    describe_counter!(IGNORED_INPUTS, Unit::Count, "inputs without effect, by reason");
    describe_counter!(INVARIANT_VIOLATIONS, Unit::Count, "sampled checks that failed");
}
