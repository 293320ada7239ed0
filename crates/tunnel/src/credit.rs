//! How much each side may send.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Bytes that one side of a tunnel may send before the other has passed them on. With a round trip
/// of 50 ms, one connection carries 10 MB/s.
pub const TUNNEL_WINDOW: usize = 512 * 1024;

/// What this side may still send.
#[derive(Debug)]
pub(crate) struct Credit {
    left: AtomicUsize,
    more: Notify,
}

impl Credit {
    pub(crate) fn new() -> Self {
        Self { left: AtomicUsize::new(TUNNEL_WINDOW), more: Notify::new() }
    }

    /// Waits until something may be sent; says how much.
    pub(crate) async fn available(&self) -> usize {
        loop {
            let left = self.left.load(Ordering::Acquire);
            if left > 0 {
                return left;
            }
            self.more.notified().await;
        }
    }

    /// Takes note of what was sent, which must have been available.
    pub(crate) fn spend(&self, bytes: usize) {
        self.left.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// The other side has passed on so much; `false` if that is more than it was sent.
    pub(crate) fn refund(&self, bytes: usize) -> bool {
        let before = self.left.fetch_add(bytes, Ordering::AcqRel);
        self.more.notify_one();
        before.saturating_add(bytes) <= TUNNEL_WINDOW
    }
}

/// What the other side has sent and this one has yet to pass on.
#[derive(Debug, Default)]
pub(crate) struct Debt {
    held: AtomicUsize,
}

impl Debt {
    /// `false` if the other side has sent more than it may.
    pub(crate) fn add(&self, bytes: usize) -> bool {
        self.held.fetch_add(bytes, Ordering::AcqRel).saturating_add(bytes) <= TUNNEL_WINDOW
    }

    pub(crate) fn pay(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_spent_comes_back_and_nothing_more() {
        let credit = Credit::new();
        assert_eq!(credit.available().await, TUNNEL_WINDOW);
        credit.spend(TUNNEL_WINDOW);
        assert!(futures::poll!(Box::pin(credit.available())).is_pending());
        assert!(credit.refund(10));
        assert_eq!(credit.available().await, 10);
        assert!(!credit.refund(TUNNEL_WINDOW));
    }

    #[test]
    fn a_side_that_sends_more_than_it_may_is_found_out() {
        let debt = Debt::default();
        assert!(debt.add(TUNNEL_WINDOW));
        assert!(!debt.add(1));
        debt.pay(TUNNEL_WINDOW + 1);
        assert!(debt.add(1));
    }
}
