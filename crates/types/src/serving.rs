//! How a stub takes its calls.

use serde::{Deserialize, Serialize};

/// How calls are spread over containers, and how many there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Serving {
    /// Processes of one container; at least 1.
    pub workers: u32,
    /// Requests that one container takes at a time, in all of its processes; at least `workers` for
    /// what answers HTTP.
    pub concurrency: u32,
    /// Requests that may wait for a container, or calls that may wait or run; 0 for no limit but the
    /// gateway's own.
    pub max_pending: u32,
    /// `false` if anybody may call it.
    pub authorized: bool,
    /// Containers at most; 0 for no limit, at least 1 for what answers HTTP.
    pub max_containers: u32,
    /// Containers that are kept while it is deployed, requests or not.
    pub min_containers: u32,
    /// Requests for which one more container is wanted; at least 1.
    pub tasks_per_container: u32,
}

impl Default for Serving {
    fn default() -> Self {
        Self {
            workers: 1,
            concurrency: 1,
            max_pending: 0,
            authorized: true,
            max_containers: 0,
            min_containers: 0,
            tasks_per_container: 1,
        }
    }
}

impl Serving {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Requests that each process of a container takes at a time.
    #[must_use]
    pub fn per_process(&self) -> u32 {
        self.concurrency.div_ceil(self.workers.max(1)).max(1)
    }

    /// Containers that so many requests, running and waiting, want.
    #[must_use]
    pub fn containers_for(&self, requests: usize) -> u32 {
        let each = self.tasks_per_container.max(self.concurrency).max(1);
        let wanted = u32::try_from(requests).unwrap_or(u32::MAX).div_ceil(each);
        wanted.min(self.max_containers.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serving() -> Serving {
        Serving {
            workers: 2,
            concurrency: 5,
            max_pending: 100,
            authorized: true,
            max_containers: 3,
            min_containers: 0,
            tasks_per_container: 1,
        }
    }

    #[test]
    fn containers_follow_the_requests_up_to_the_most() {
        let wanted = [0, 1, 5, 6, 11, 1000].map(|requests| serving().containers_for(requests));
        assert_eq!(wanted, [0, 1, 1, 2, 3, 3]);
        let patient = Serving { tasks_per_container: 10, ..serving() };
        assert_eq!(patient.containers_for(10), 1);
    }

    #[test]
    fn every_process_takes_its_part() {
        assert_eq!(serving().per_process(), 3);
    }
}
