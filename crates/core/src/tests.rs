//! Tests of the scheduler as a whole: inputs in, actions out, books checked after each step.

mod adoption;
mod assigning;
mod conditions;
mod devices;
mod draining;
mod ending;
mod env;
mod explaining;
mod fairness;
mod floors;
mod limits;
mod lru;
mod matching;
mod placing;
mod random;
mod recovery;
mod scaling;
mod sharing;
mod sim;
mod warm;
mod workers;
