//! Tests of the simulated fleet: scripts with the output they should have, whole fleets under
//! faults, and mistakes made on purpose.
//!
//! `METAL9_UPDATE_GOLDEN=1 cargo test -p metal9-sim` writes the golden files anew; look at what
//! changed before it is committed.

#[cfg(test)]
mod fleets;
#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod scripts;
