//! A worker as a service of launchd or systemd.
//!
//! Everything here is a function of its arguments, so that both service managers are tested on any
//! machine: [`definition`] is the text of the plist or unit, [`plan`] the steps that install, start,
//! stop and remove the service, and [`Standing`] what the service manager's answer says. Carrying
//! out a plan is the caller's business.

#![forbid(unsafe_code)]

mod advice;
mod answers;
mod launchd;
mod place;
mod plan;
mod search;
mod service;
mod systemd;

pub use advice::advice;
pub use answers::{Standing, lingers};
pub use launchd::log_of;
pub use place::{Account, Manager, Place, Scope};
pub use plan::{Plan, Step};
pub use search::search_path;
pub use service::{Service, definition};
pub use systemd::suits_containers;

/// Plans, by what they do.
pub mod plans {
    pub use crate::plan::{install, linger, logs, query, start, stop, uninstall};
}
