//! Has the crate compiled again when a file of the runner comes or goes.

#![allow(clippy::print_stdout, reason = "cargo reads it")]

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../python/metal9/src");
}
