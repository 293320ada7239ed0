//! Only Linux has the file systems that layers are for.

use std::convert::Infallible;
use std::io;
use std::path::Path;

use crate::unpack::{Facts, Node};

/// A directory that is being filled; there is none here.
pub(crate) struct Tree(Infallible);

impl Tree {
    pub(crate) fn open(_: &Path, _: u32) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn make(&mut self, _: &Path, _: Node<'_>, _: &Facts<'_>) -> io::Result<u64> {
        match self.0 {}
    }

    pub(crate) fn hide(&mut self, _: &Path) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn hide_all_in(&mut self, _: &Path) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn describe_root(&mut self, _: &Facts<'_>) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn finish(self) -> io::Result<()> {
        match self.0 {}
    }
}
