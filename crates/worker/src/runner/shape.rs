//! What is decided about a runner when it is started, and cannot be changed any more.

use metal9_sandbox::{Means, Network};

/// What one runner was started for. Where the system can do more later, it is less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    /// What it may connect to.
    pub(crate) network: Network,
    /// Whether it reaches the GPU of a Mac. macOS' sandbox opens nothing later.
    pub(crate) gpu: bool,
    /// The memory that its stub asks for, in MiB, where the kernel takes a limit with the exec only,
    /// as macOS does; else 0.
    pub(crate) memory_mib: u64,
}

impl Shape {
    /// What has to be decided on a machine that isolates its jobs by `means`.
    pub(crate) fn new(means: Option<Means>, network: Network, gpu: bool, memory_mib: u64) -> Self {
        if means.is_some_and(|means| means.seatbelt) {
            return Self { network, gpu, memory_mib };
        }
        Self { network, gpu: false, memory_mib: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_on_linux_fits_every_stub_with_its_network() {
        let shape = |gpu, memory| Shape::new(Some(Means::all(7, true)), Network::Full, gpu, memory);
        assert_eq!(shape(true, 8192), shape(false, 0));
    }

    #[test]
    fn a_runner_on_a_mac_fits_those_that_ask_for_the_same() {
        let shape = |gpu, memory| Shape::new(Some(Means::darwin()), Network::Full, gpu, memory);
        assert_eq!(shape(true, 8192), shape(true, 8192));
        assert_ne!(shape(true, 8192), shape(false, 8192));
        assert_ne!(shape(true, 8192), shape(true, 4096));
    }
}
