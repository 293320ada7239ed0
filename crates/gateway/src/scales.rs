//! How many containers deployments have, over what their stubs say.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use metal9_store::StubRow;
use metal9_types::{Serving, StubId};

/// The numbers by stub; what is not here goes by its stub.
#[derive(Debug, Default)]
pub(crate) struct Scales(RwLock<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    /// At most, as somebody has said.
    told: HashMap<StubId, u32>,
    /// What is kept whatever the calls, as the decorator says, while it is deployed.
    kept: HashMap<StubId, u32>,
}

impl Scales {
    /// How many containers a stub was told to have.
    pub(crate) fn of(&self, stub: StubId) -> Option<u32> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).told.get(&stub).copied()
    }

    /// Tells a stub how many containers it has; nothing for as many as it says itself.
    pub(crate) fn set(&self, stub: StubId, containers: Option<u32>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match containers {
            Some(count) => all.told.insert(stub, count),
            None => all.told.remove(&stub),
        };
    }

    /// How a stub takes its calls, with as many containers as it was told to have.
    pub(crate) fn serving(&self, stub: &StubRow) -> Serving {
        scaled(stub.config.serving, self.of(stub.id))
    }

    /// How many containers of a stub are kept.
    pub(crate) fn kept(&self, stub: StubId) -> u32 {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.kept.get(&stub).copied().unwrap_or(0)
    }

    /// These are kept and no others. Gives the stubs for which that is another number now.
    pub(crate) fn keep_only(&self, kept: HashMap<StubId, u32>) -> Vec<StubId> {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut all.kept, kept);
        let touched = before.keys().chain(all.kept.keys());
        let mut touched: Vec<_> =
            touched.filter(|id| before.get(id) != all.kept.get(id)).copied().collect();
        touched.sort_unstable();
        touched.dedup();
        touched
    }
}

fn scaled(serving: Serving, told: Option<u32>) -> Serving {
    let Some(max_containers) = told else { return serving };
    let min_containers = serving.min_containers.min(max_containers);
    Serving { max_containers, min_containers, ..serving }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_that_is_told_to_have_less_keeps_no_more() {
        let serving = Serving { min_containers: 3, max_containers: 5, ..Serving::default() };
        assert_eq!(scaled(serving, None), serving);
        let told = scaled(serving, Some(2));
        assert_eq!((told.min_containers, told.max_containers), (2, 2));
        let told = scaled(serving, Some(9));
        assert_eq!((told.min_containers, told.max_containers), (3, 9));
    }

    #[test]
    fn what_is_kept_otherwise_is_told() {
        let scales = Scales::default();
        let id = |number| StubId(uuid::Uuid::from_u128(number));
        let kept = |all: &[(u128, u32)]| all.iter().map(|(n, count)| (id(*n), *count)).collect();
        assert_eq!(scales.keep_only(kept(&[(1, 1), (2, 1)])), [id(1), id(2)]);
        assert_eq!(scales.keep_only(kept(&[(1, 1), (3, 2)])), [id(2), id(3)]);
        assert_eq!((scales.kept(id(2)), scales.kept(id(3))), (0, 2));
    }
}
