//! The sandbox as a worker sees it, with real processes.

#[cfg(test)]
#[cfg(target_os = "linux")]
mod accounts;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod cgroup_v2;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod cgroups;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod launch;
#[cfg(test)]
mod loss;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod reap;
#[cfg(test)]
mod run;
#[cfg(test)]
mod support;
