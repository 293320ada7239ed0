//! The `metal9` command line, one file per command.
//!
//! [`run`] is the whole program. Data goes to stdout and talk to stderr; nothing but `output` and
//! `talk` writes to either. Settings come from `settings`, which knows where each value is from;
//! no other module reads the environment.

#![forbid(unsafe_code)]

mod arguments;
mod client;
mod commands;
mod connection;
mod context;
mod doctor;
mod entry;
mod environment;
mod failure;
mod image_check;
mod logging;
mod machine;
mod open_files;
mod output;
mod port_holder;
mod private_file;
mod ready;
mod report;
mod selftest;
mod serving;
mod settings;
mod signals;
mod talk;
mod worker_process;

pub use entry::run;
