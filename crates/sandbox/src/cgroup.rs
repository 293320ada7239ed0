//! The cgroups of containers, where this process may make any.
//!
//! [`Cgroups`] is what the worker has: one directory of its own below its own cgroup in every
//! hierarchy that is of use, version 1 or 2. A [`Group`] is what one container has: one directory
//! below each of these. Nothing here needs privileges beyond being allowed to write there, and
//! where there is no `/proc/self/cgroup` there is simply nothing.
//!
//! The supervisor stays outside: it must be able to act while its job has used up everything.

mod detect;
mod files;
mod group;
mod open;

pub use detect::{Controller, Layout};
pub use group::{Group, GroupLimits, Tally};
pub(crate) use group::{ROOT, WirePlaces};
pub use open::{Cgroups, Cleaned, clean};
