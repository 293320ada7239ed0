//! What a machine can enforce.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kernel's features that isolation is made of, and which of them there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Means {
    /// The version of Landlock; 0 if there is none.
    pub landlock: u32,
    /// System calls can be filtered.
    pub seccomp: bool,
    /// A job gets a view of the file system that holds nothing but what it may use, with a `/tmp`
    /// and a `/dev/shm` of its own.
    pub view: bool,
    /// Processes that are not the job's own are not in its `/proc`.
    pub hidden_processes: bool,
    /// A job can get a network of its own.
    pub network: bool,
    /// The worker is not root, so that namespaces need a user namespace first.
    pub user_namespace: bool,
    /// macOS' own sandbox, which alone does what the others do together.
    pub seatbelt: bool,
    /// The kernel of macOS takes a limit of memory with the program. Isolates nothing, and works
    /// without all that does.
    pub memory_limit: bool,
}

/// The first Landlock that keeps signals and abstract sockets within the job.
const LANDLOCK_SCOPES: u32 = 6;

impl Means {
    /// Every means, of which [`super::probe`] takes away what does not work.
    #[must_use]
    pub fn all(landlock: u32, root: bool) -> Self {
        Self {
            landlock,
            seccomp: true,
            view: true,
            // A process that is root in its own user namespace only cannot mount a `/proc`.
            hidden_processes: root,
            network: true,
            user_namespace: !root,
            seatbelt: false,
            memory_limit: false,
        }
    }

    /// Every means of macOS: its sandbox also cuts a job off the network.
    #[must_use]
    pub fn darwin() -> Self {
        Self { seatbelt: true, network: true, memory_limit: true, ..Self::default() }
    }

    /// Whether anything here keeps a job from anything.
    #[must_use]
    pub fn isolate(self) -> bool {
        Self { memory_limit: false, ..self } != Self::default()
    }

    /// Without what failed at `step`; `None` if nothing can be left out.
    #[must_use]
    pub fn without(self, step: Step) -> Option<Self> {
        let less = match step {
            Step::UserNamespace => {
                Self { view: false, network: false, user_namespace: false, ..self }
            }
            // Root of a container may lack the right, and still have it in a user namespace.
            Step::Namespaces if !self.user_namespace => {
                Self { user_namespace: true, hidden_processes: false, ..self }
            }
            Step::Namespaces => Self { view: false, network: false, user_namespace: false, ..self },
            Step::Processes => Self { hidden_processes: false, ..self },
            Step::View => Self { view: false, hidden_processes: false, ..self },
            Step::Network => Self { network: false, ..self },
            Step::Landlock => Self { landlock: 0, ..self },
            Step::Seccomp => Self { seccomp: false, ..self },
            Step::Seatbelt => Self { seatbelt: false, network: false, ..self },
            // What cannot be executed without the limit either fails again, and then for good.
            Step::Program => Self { memory_limit: false, ..self },
            Step::Capabilities | Step::Account => self,
        };
        let less = Self { user_namespace: less.user_namespace && less.namespaces(), ..less };
        (less != self).then_some(less)
    }

    /// Whether anything here needs namespaces.
    #[must_use]
    pub fn namespaces(self) -> bool {
        self.view || self.network
    }

    /// What is missing from full isolation, as parts of a sentence.
    #[must_use]
    pub fn gaps(self) -> Vec<&'static str> {
        let mut gaps = Vec::new();
        if self.seatbelt {
            return gaps;
        }
        match self.landlock {
            0 => gaps.push("no Landlock: files and processes are protected by less"),
            version if version < LANDLOCK_SCOPES => {
                gaps.push("Landlock before version 6: jobs can signal the worker's processes");
            }
            _ => {}
        }
        if !self.seccomp {
            gaps.push("no seccomp: every system call can be made");
        }
        if !self.view {
            gaps.push("no mount namespace: /tmp is refused and /dev/shm is shared");
        }
        if !self.network {
            gaps.push("no network namespace: jobs cannot be cut off the network");
        }
        gaps
    }

    /// Whether a job is kept from files and processes that are not its own, at the least.
    #[must_use]
    pub fn suffice(self) -> bool {
        self.seatbelt || (self.landlock > 0 && self.seccomp)
    }
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.landlock > 0 {
            parts.push(format!("landlock {}", self.landlock));
        }
        for (there, name) in [
            (self.seccomp, "seccomp"),
            (self.view, "own file system view"),
            (self.hidden_processes, "hidden processes"),
            (self.network && !self.seatbelt, "own network"),
            (self.user_namespace, "user namespace"),
            (self.seatbelt, "seatbelt"),
            (self.memory_limit, "memory limit by the kernel"),
        ] {
            if there {
                parts.push(name.to_owned());
            }
        }
        if parts.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&parts.join(", "))
    }
}

/// A step of isolating a process, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Making a user namespace and becoming its root.
    UserNamespace,
    /// Making the other namespaces.
    Namespaces,
    /// Setting up the network.
    Network,
    /// Mounting the view of the file system.
    View,
    /// Mounting a `/proc` without other processes.
    Processes,
    /// Restricting itself by Landlock.
    Landlock,
    /// Giving up all capabilities.
    Capabilities,
    /// Filtering system calls.
    Seccomp,
    /// Becoming another account.
    Account,
    /// Entering macOS' sandbox.
    Seatbelt,
    /// Executing the program with its limit of memory.
    Program,
}

impl Step {
    const ALL: [Self; 11] = [
        Self::UserNamespace,
        Self::Namespaces,
        Self::Network,
        Self::View,
        Self::Processes,
        Self::Landlock,
        Self::Capabilities,
        Self::Seccomp,
        Self::Account,
        Self::Seatbelt,
        Self::Program,
    ];

    /// The step and the error as one number, for the wire.
    pub(crate) fn with(self, errno: i32) -> i32 {
        let step = Self::ALL.iter().position(|step| *step == self).unwrap_or(0);
        i32::try_from(step).unwrap_or(0) << 16 | (errno & 0xffff)
    }

    /// The step and the error of such a number.
    pub(crate) fn of(number: i32) -> (Self, i32) {
        let step = usize::try_from(number >> 16).ok().and_then(|step| Self::ALL.get(step));
        (step.copied().unwrap_or(Self::UserNamespace), number & 0xffff)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UserNamespace => "making a user namespace",
            Self::Namespaces => "making namespaces",
            Self::Network => "setting up its network",
            Self::View => "mounting its view of the file system",
            Self::Processes => "hiding other processes",
            Self::Landlock => "restricting itself by Landlock",
            Self::Capabilities => "giving up capabilities",
            Self::Seccomp => "filtering system calls",
            Self::Account => "becoming the account of jobs",
            Self::Seatbelt => "entering the system's sandbox",
            Self::Program => "executing it with its limit of memory",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_work_is_taken_away_until_nothing_is_left() {
        for root in [true, false] {
            for step in Step::ALL {
                let (mut means, mut steps) = (Means::all(7, root), 0);
                while let Some(less) = means.without(step) {
                    means = less;
                    steps += 1;
                    assert!(steps < 4, "{step:?} does not come to an end");
                }
                if matches!(step, Step::UserNamespace | Step::Namespaces) {
                    assert!(!means.namespaces() && !means.user_namespace, "{means}");
                }
            }
        }
    }

    #[test]
    fn means_say_what_is_in_force_and_what_is_not() {
        let all = Means::all(7, true);
        let text = "landlock 7, seccomp, own file system view, hidden processes, own network";
        assert_eq!(all.to_string(), text);
        assert!(all.gaps().is_empty());
        assert_eq!(Means::default().to_string(), "none");
        assert_eq!(Means::default().gaps().len(), 4);
        assert!(!Means { landlock: 0, ..all }.suffice());
        let mac = Means::darwin();
        assert_eq!(mac.to_string(), "seatbelt, memory limit by the kernel");
        assert!(mac.suffice() && mac.gaps().is_empty());
        let open = mac.without(Step::Seatbelt).unwrap();
        assert!(open.memory_limit && !open.isolate() && !open.suffice());
    }

    #[test]
    fn a_limit_that_the_kernel_refuses_is_left_out_and_the_sandbox_stays() {
        let mac = Means::darwin().without(Step::Program).unwrap();
        assert_eq!(mac, Means { memory_limit: false, ..Means::darwin() });
        assert_eq!(mac.to_string(), "seatbelt");
        assert!(mac.isolate() && mac.suffice());
        assert_eq!(mac.without(Step::Program), None, "it is not the limit that fails");
    }

    #[test]
    fn steps_survive_the_wire() {
        for step in Step::ALL {
            assert_eq!(Step::of(step.with(38)), (step, 38));
        }
    }
}
