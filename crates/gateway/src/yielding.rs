//! A stream written as a future that yields: it runs in the task of whoever reads the stream, so an
//! item costs neither a task of its own nor a queue.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::Stream;

/// Where the future puts its items.
#[derive(Debug)]
pub(crate) struct Yielder<T>(Arc<Mutex<Option<T>>>);

impl<T> Yielder<T> {
    /// Hands an item to the reader, and returns once it has taken it and wants another.
    pub(crate) async fn give(&self, item: T) {
        *self.slot() = Some(item);
        // The reader polls again after each item; nobody else has to wake this.
        std::future::poll_fn(|_| match self.slot().is_none() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub(crate) struct Yielding<T, F> {
    work: Option<Pin<Box<F>>>,
    items: Yielder<T>,
}

/// The stream of what `work` gives to its yielder; ends with it. Dropping it drops the future.
pub(crate) fn yielding<T, F: Future<Output = ()>>(
    work: impl FnOnce(Yielder<T>) -> F,
) -> Yielding<T, F> {
    let slot = Arc::new(Mutex::new(None));
    let work = work(Yielder(Arc::clone(&slot)));
    Yielding { work: Some(Box::pin(work)), items: Yielder(slot) }
}

impl<T, F: Future<Output = ()>> Stream for Yielding<T, F> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let ended = match &mut self.work {
            Some(work) => work.as_mut().poll(context).is_ready(),
            None => true,
        };
        if ended {
            self.work = None;
        }
        match self.items.slot().take() {
            Some(item) => Poll::Ready(Some(item)),
            None if ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn items_come_in_order_and_the_stream_ends_with_the_work() {
        let go = Notify::new();
        let stream = yielding(|items| async {
            let items = items;
            items.give(1).await;
            go.notified().await;
            items.give(2).await;
        });
        let mut stream = Box::pin(stream);
        assert_eq!(stream.next().await, Some(1));
        assert!(futures::poll!(stream.next()).is_pending());
        go.notify_one();
        assert_eq!(stream.next().await, Some(2));
        assert_eq!(stream.next().await, None);
        assert_eq!(stream.next().await, None);
    }

    #[tokio::test]
    async fn work_goes_on_only_when_the_reader_wants_more() {
        let reached = Mutex::new(false);
        let mut stream = Box::pin(yielding(|items| async {
            let items = items;
            items.give(1).await;
            *reached.lock().unwrap() = true;
        }));
        assert_eq!(stream.next().await, Some(1));
        assert!(!*reached.lock().unwrap());
        assert_eq!(stream.next().await, None);
        assert!(*reached.lock().unwrap());
    }
}
