//! How a stub takes its calls: processes, containers, and how many may wait.

use metal9_proto::beta9::gateway::GetOrCreateStubRequest;
use metal9_types::{Serving, StubKind};

use super::refuse;
use crate::error::ApiError;

/// Seconds a request may wait for a container where the client does not say: it waits for its answer,
/// so it is worth less time than a call.
pub(crate) const DEFAULT_TTL: u64 = 600;
/// Requests that may wait where the client does not say: the SDK's own default.
const DEFAULT_PENDING: u32 = 100;
/// Requests that one container may take at a time.
const MAX_CONCURRENCY: u32 = 10_000;
/// Processes in one container at most.
const MAX_WORKERS: u32 = 64;
/// Containers of one stub at most.
const MAX_CONTAINERS: u32 = 1000;
/// Calls of one stub that may wait at most, where the client names a number.
const MAX_PENDING: u32 = 1_000_000;

/// Reads the settings. A function that is called directly has none: each of its calls has a
/// container to itself.
pub(crate) fn serving(
    kind: StubKind,
    request: &GetOrCreateStubRequest,
) -> Result<Serving, ApiError> {
    if matches!(kind, StubKind::Function | StubKind::Schedule) {
        // Programs that call their own functions never send it.
        let authorized = request.authorized || !request.stub_type.ends_with("/deployment");
        return Ok(Serving { authorized, ..Serving::default() });
    }
    let developed = request.stub_type.ends_with("/serve");
    let autoscaler = request.autoscaler.clone().unwrap_or_default();
    let workers = within("workers", request.workers.max(1), MAX_WORKERS)?;
    let concurrent = within("concurrent_requests", request.concurrent_requests, MAX_CONCURRENCY)?;
    let max_containers = match autoscaler.max_containers {
        // One that changes under its developer's hands is enough.
        _ if developed => 1,
        0 if kind.is_served() => 1,
        asked => within("max_containers", asked, MAX_CONTAINERS)?,
    };
    let max_pending = match within("max_pending_tasks", request.max_pending_tasks, MAX_PENDING)? {
        0 if kind.is_served() || developed => DEFAULT_PENDING,
        asked => asked,
    };
    let min_containers = match autoscaler.min_containers {
        _ if developed => 0,
        asked => within("min_containers", asked, MAX_CONTAINERS)?,
    };
    if max_containers > 0 && min_containers > max_containers {
        return Err(refuse(
            format!(
                "min_containers of {min_containers} is more than max_containers of \
                 {max_containers}"
            ),
            "choose `QueueDepthAutoscaler(min_containers=1, max_containers=2)`, or leave one out",
        ));
    }
    Ok(Serving {
        workers,
        // The handler of an endpoint has its process to itself.
        concurrency: if kind.is_asgi() { concurrent.max(workers) } else { workers },
        max_pending,
        authorized: request.authorized,
        max_containers,
        min_containers,
        tasks_per_container: autoscaler.tasks_per_container.max(1),
    })
}

fn within(name: &str, asked: u32, most: u32) -> Result<u32, ApiError> {
    if asked <= most {
        return Ok(asked);
    }
    Err(refuse(
        format!("{name} of {asked} is more than the limit of {most}"),
        "ask for fewer; what one machine cannot take waits",
    ))
}

#[cfg(test)]
mod tests {
    use metal9_proto::beta9::gateway::Autoscaler;

    use super::*;

    fn request(min_containers: u32, max_containers: u32) -> GetOrCreateStubRequest {
        let autoscaler = Autoscaler {
            min_containers,
            max_containers,
            tasks_per_container: 0,
            r#type: "queue_depth".into(),
        };
        GetOrCreateStubRequest {
            stub_type: "taskqueue/deployment".into(),
            autoscaler: Some(autoscaler),
            ..Default::default()
        }
    }

    #[test]
    fn a_functions_own_containers_are_not_limited_by_the_sdks_default() {
        let asked = GetOrCreateStubRequest { stub_type: "function".into(), ..request(0, 1) };
        assert_eq!(serving(StubKind::Function, &asked).unwrap(), Serving::default());
    }

    #[test]
    fn a_queue_has_what_it_asks_for() {
        let asked = GetOrCreateStubRequest { workers: 3, ..request(1, 2) };
        let serving = serving(StubKind::Taskqueue, &asked).unwrap();
        assert_eq!((serving.workers, serving.min_containers, serving.max_containers), (3, 1, 2));
        assert_eq!((serving.tasks_per_container, serving.authorized), (1, false));
    }

    #[test]
    fn only_an_application_shares_a_process_between_requests() {
        let asked = GetOrCreateStubRequest { workers: 2, concurrent_requests: 8, ..request(1, 3) };
        let asgi = serving(StubKind::Asgi, &asked).unwrap();
        assert_eq!((asgi.concurrency, asgi.max_pending, asgi.max_containers), (8, 100, 3));
        assert_eq!(serving(StubKind::Endpoint, &asked).unwrap().concurrency, 2);
        let developed = GetOrCreateStubRequest { stub_type: "asgi/serve".into(), ..asked };
        assert_eq!(serving(StubKind::Asgi, &developed).unwrap().max_containers, 1);
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_to_do() {
        let error = serving(StubKind::Taskqueue, &request(3, 2)).unwrap_err().to_string();
        assert!(error.contains("min_containers of 3 is more than max_containers of 2"), "{error}");
        let many = GetOrCreateStubRequest { workers: 65, ..request(0, 1) };
        let error = serving(StubKind::Taskqueue, &many).unwrap_err().to_string();
        assert!(error.contains("workers of 65 is more than the limit of 64"), "{error}");
    }
}
