//! A real gateway on real connections, with a stand-in worker whose jobs the tests play by hand.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod restart;
