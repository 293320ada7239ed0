//! What the service for volumes does.

pub(super) mod copy;
pub(super) mod paths;
pub(super) mod uploads;
pub(super) mod whole;
