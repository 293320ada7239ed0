//! Moves that keep every index in step. Nothing else changes tasks, containers and workers.

mod containers;
mod tasks;
mod workers;
