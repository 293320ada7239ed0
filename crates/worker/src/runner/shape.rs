//! What is decided about a runner when it is started, and cannot be changed any more.

use metal9_sandbox::Network;

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

/// What a system wants to know when it starts a program, and never again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Early {
    /// Whether the program uses a GPU. So on every Mac, isolated or not: one that finds no GPU there
    /// is told what the probe saw.
    pub(crate) gpu: bool,
    /// How much memory it may use, where the kernel takes such a limit.
    pub(crate) memory: bool,
}

impl Shape {
    /// What has to be decided on a machine that wants to know `early`.
    pub(crate) fn new(early: Early, network: Network, gpu: bool, memory_mib: u64) -> Self {
        Self {
            network,
            gpu: gpu && early.gpu,
            memory_mib: if early.memory { memory_mib } else { 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_on_linux_fits_every_stub_with_its_network() {
        let shape = |gpu, memory| Shape::new(Early::default(), Network::Full, gpu, memory);
        assert_eq!(shape(true, 8192), shape(false, 0));
    }

    #[test]
    fn a_runner_on_a_mac_fits_those_that_ask_for_the_same() {
        let early = Early { gpu: true, memory: true };
        let shape = |gpu, memory| Shape::new(early, Network::Full, gpu, memory);
        assert_eq!(shape(true, 8192), shape(true, 8192));
        assert_ne!(shape(true, 8192), shape(false, 8192));
        assert_ne!(shape(true, 8192), shape(true, 4096));
    }

    #[test]
    fn a_limit_that_the_kernel_does_not_take_is_not_asked_of_it() {
        let early = Early { gpu: true, memory: false };
        let shape = |gpu, memory| Shape::new(early, Network::Full, gpu, memory);
        assert_eq!(shape(true, 8192), shape(true, 4096));
        assert_ne!(shape(true, 8192), shape(false, 8192));
    }
}
