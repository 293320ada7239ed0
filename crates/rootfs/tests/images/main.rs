//! Images from a real registry, mounted by the kernel, and built by buildah.

#![cfg(target_os = "linux")]

#[cfg(test)]
mod building;
#[cfg(test)]
mod collecting;
#[cfg(test)]
mod escaping;
#[cfg(test)]
mod made;
#[cfg(test)]
mod mounting;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod pulling;
#[cfg(test)]
mod server;
