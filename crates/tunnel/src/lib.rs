//! Carries the bytes of one connection over a stream of messages, in both directions.
//!
//! Many tunnels share one HTTP/2 connection, whose flow control knows streams and not readers: one
//! reader that is slow would in the end hold up everybody. So each side of a tunnel may send only
//! [`TUNNEL_WINDOW`] bytes more than the other has said to have passed on, and takes every message
//! at once. A tunnel whose reader is slow holds up nothing but itself, and costs a window of memory
//! at most.

#![forbid(unsafe_code)]

mod carry;
mod credit;
mod frames;

pub use carry::{TunnelError, carry};
pub use credit::TUNNEL_WINDOW;
pub use frames::{FrameError, read_frame, write_frame};
