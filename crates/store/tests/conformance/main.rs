//! What every user of the store relies on, against real files.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod data;
#[cfg(test)]
mod deployments;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod images_and_stubs;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod pools;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod served;
#[cfg(test)]
mod tasks;
#[cfg(test)]
mod tasks_end_once;
#[cfg(test)]
mod workers;
#[cfg(test)]
mod workspaces;
