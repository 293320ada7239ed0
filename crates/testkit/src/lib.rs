//! Clients and stand-in workers for tests: speak the protocols, wait for a state.
//!
//! [`Client`] is a client of the gateway's API without an SDK, [`FakeWorker`] a worker whose jobs a
//! test plays by hand. Both talk to a real gateway over real connections.

#![forbid(unsafe_code)]

mod client;
mod fake_worker;
mod wait;

pub use client::{Call, Client, End, StubOptions};
pub use fake_worker::{FakeWorker, Session};
pub use wait::{PATIENCE, until, within};
