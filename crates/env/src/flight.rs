//! One build of a thing at a time, for everyone who wants it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::{EnvError, Progress};

/// What is being built, by name.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<String, Weak<Flight>>>);

/// Somebody who hears a build for as long as they want to.
type Listener = Weak<dyn Fn(&str) + Send + Sync>;

/// One build and those who wait for it.
#[derive(Default)]
struct Flight {
    /// Held by whoever builds; has the error everyone gets if the build failed.
    turn: tokio::sync::Mutex<Option<EnvError>>,
    /// Everyone who hears how it goes.
    listeners: Mutex<Vec<Listener>>,
}

impl Flights {
    /// Runs `work` unless somebody already does: then waits for that, hearing its progress, and
    /// gets its error if it fails. If it succeeds or is given up, `work` runs after it, so it must
    /// first look whether there is anything left to do.
    pub(crate) async fn once<F, R>(
        &self,
        name: &str,
        progress: &Progress,
        work: F,
    ) -> Result<(), EnvError>
    where
        F: FnOnce(Progress) -> R + Send,
        R: Future<Output = Result<(), EnvError>> + Send,
    {
        let (flight, is_first) = self.join(name, progress);
        if !is_first {
            progress("waiting for another build of this environment\n");
        }
        let mut turn = flight.turn.lock().await;
        if let Some(error) = &*turn {
            return Err(error.clone());
        }
        let to_all: Progress = {
            let flight = Arc::clone(&flight);
            Arc::new(move |line| flight.tell(line))
        };
        let result = work(to_all).await;
        if let Err(error) = &result {
            *turn = Some(error.clone());
            // Whoever asks from now on gets a build of their own.
            self.forget(name, &flight);
        }
        result
    }

    fn join(&self, name: &str, progress: &Progress) -> (Arc<Flight>, bool) {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.strong_count() > 0);
        let known = flights.get(name).and_then(Weak::upgrade);
        let is_first = known.is_none();
        let flight = known.unwrap_or_default();
        flights.insert(name.to_owned(), Arc::downgrade(&flight));
        let mut listeners = flight.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.push(Arc::downgrade(progress));
        drop(listeners);
        (flight, is_first)
    }

    fn forget(&self, name: &str, flight: &Arc<Flight>) {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.get(name).is_some_and(|known| known.ptr_eq(&Arc::downgrade(flight))) {
            flights.remove(name);
        }
    }
}

impl Flight {
    fn tell(&self, line: &str) {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for listener in listeners.iter().filter_map(Weak::upgrade) {
            listener(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::{Notify, mpsc};

    use super::*;

    fn listener() -> (Progress, mpsc::Receiver<String>) {
        let (sender, receiver) = mpsc::channel(16);
        let progress: Progress = Arc::new(move |line| sender.try_send(line.to_owned()).unwrap());
        (progress, receiver)
    }

    fn failure() -> EnvError {
        EnvError::Build { output: "no space".into() }
    }

    #[tokio::test]
    async fn those_who_wait_hear_the_build_and_share_its_error() {
        let flights = Flights::default();
        let (go, runs) = (Notify::new(), AtomicUsize::new(0));
        let (first, _first_lines) = listener();
        let (second, mut second_lines) = listener();
        let build = |progress: Progress| {
            let (go, runs) = (&go, &runs);
            async move {
                runs.fetch_add(1, Ordering::SeqCst);
                go.notified().await;
                progress("half\n");
                Err(failure())
            }
        };
        let drive = async {
            assert!(second_lines.recv().await.unwrap().starts_with("waiting"));
            go.notify_one();
            second_lines.recv().await.unwrap()
        };
        let (one, two, line) = tokio::join!(
            flights.once("a", &first, build),
            flights.once("a", &second, build),
            drive
        );
        assert!(one.is_err() && two.is_err());
        assert_eq!(line, "half\n");
        assert_eq!(runs.load(Ordering::SeqCst), 1);

        let third = flights.once("a", &first, |_| async { Ok(()) }).await;
        assert!(third.is_ok(), "a new request is a new try");
    }

    #[tokio::test]
    async fn a_build_that_is_given_up_is_taken_over() {
        let flights = Flights::default();
        let (first, _first_lines) = listener();
        let (second, mut second_lines) = listener();
        let mut abandoned =
            Box::pin(flights.once("a", &first, |_| std::future::pending::<Result<(), EnvError>>()));
        let mut waiting = Box::pin(flights.once("a", &second, |_| async { Ok(()) }));
        tokio::select! {
            biased;
            _ = &mut abandoned => panic!("ended"),
            _ = &mut waiting => panic!("did not wait"),
            line = second_lines.recv() => assert!(line.unwrap().starts_with("waiting")),
        }
        drop(abandoned);
        assert!(waiting.await.is_ok());
    }
}
