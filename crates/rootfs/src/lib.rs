//! Root filesystems from OCI images.
//!
//! [`Images`] is a cache: [`Images::pull`] fetches an image from a registry, [`Images::load`] takes it
//! from an OCI image layout. Layers are unpacked once and shared; an [`Image`] names their
//! directories, and keeps them with its [`Lease`]. [`Builder`] makes new images with buildah.
//!
//! Nothing that an image says is believed: digests are checked, sizes counted while bytes come, and no
//! name, link or attribute in a layer reaches anything outside of the layer's directory.
//!
//! Linux only. Elsewhere it compiles, and says so when used.

#![forbid(unsafe_code)]

mod build;
mod collect;
mod decompress;
mod digest;
mod entry;
mod error;
mod fetch;
mod images;
mod layout;
mod lease;
mod load;
mod manifest;
mod pull;
mod room;
#[cfg_attr(not(target_os = "linux"), path = "tree/elsewhere.rs")]
mod tree;
mod unpack;
mod xattrs;

pub use build::{BuildOptions, BuildSpec, Builder, RUNTIME_COMMAND, Step, runtime_main};
pub use collect::Collected;
pub use error::RootfsError;
pub use images::{Credentials, Image, Images, Progress, Settings};
pub use lease::Lease;
pub use manifest::ImageConfig;
