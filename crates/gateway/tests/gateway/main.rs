//! A real gateway on real connections, with a stand-in worker whose jobs the tests play by hand.

mod calls;
mod fixture;
mod refusals;
mod restart;
