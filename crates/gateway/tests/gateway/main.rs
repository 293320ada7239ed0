//! A real gateway on real connections, with a stand-in worker whose jobs the tests play by hand.

#[cfg(test)]
mod admission;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod compatibility;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod hostile_worker;
#[cfg(test)]
mod job_rights;
#[cfg(test)]
mod macs;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod slow_worker;
