//! The sandbox as a worker sees it, with real processes.

#[cfg(test)]
#[cfg(target_os = "linux")]
mod cgroups;
#[cfg(test)]
mod launch;
#[cfg(test)]
mod loss;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod reap;
#[cfg(test)]
mod support;
