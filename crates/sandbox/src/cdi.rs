//! Devices as the machine's own descriptions name them: the Container Device Interface.
//!
//! Who makes a device ships a file that says what a container needs for it: device nodes, libraries of
//! the driver, variables, programs that prepare the container. NVIDIA's is written by
//! `nvidia-ctk cdi generate`. What such a file says becomes [`Edits`] of a container by pure functions.

mod edits;
mod node;
mod registry;
mod spec;

pub use edits::Edits;
pub use node::{Node, node};
pub use registry::{CdiError, Registry};

#[cfg(test)]
mod tests;
