//! What happens on each input: one file per subject.

mod alive;
mod attempt;
mod cancel;
mod condition;
mod container;
mod drain;
mod hello;
mod submit;
mod timer;
