//! What could keep this machine from being a worker or a gateway.
//!
//! `collect` looks at the machine and makes `facts`; `checks` says what the facts mean. Nothing in
//! `checks` looks at anything, so it is tested for every system on any.

mod checks;
mod collect;
mod facts;

pub(crate) use checks::checks;
pub(crate) use collect::collect;
