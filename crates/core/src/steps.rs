//! Moves that keep every index in step. Nothing else changes tasks, containers and workers.

mod classes;
mod containers;
mod shares;
mod tasks;
mod workers;
