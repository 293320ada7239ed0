//! What can be seen of a program for Macs without running it.

use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};
use object::macho::{self, CsFlags, MachHeader64};
use object::read::macho::{CodeDirectory, CodeSignature, LoadCommandVariant, MachHeader};
use object::{BigEndian, Endianness};
use sha2::{Digest, Sha256};

/// A program of one architecture.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Binary {
    /// The oldest macOS that starts it: major and minor.
    oldest: (u32, u32),
    /// The libraries it loads.
    libraries: Vec<String>,
    /// How many pages its signature vouches for.
    signed_pages: u32,
}

impl Binary {
    /// Reads a program and checks its signature, without which no Mac runs it.
    ///
    /// # Errors
    ///
    /// If it is no program for an arm64 Mac, or the signature is not right.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let header = MachHeader64::<Endianness>::parse(bytes, 0)?;
        let endian = header.endian()?;
        ensure!(header.cputype(endian) == macho::CPU_TYPE_ARM64, "it is not for arm64");
        ensure!(header.filetype(endian) == macho::MH_EXECUTE, "it is no program");
        let (mut oldest, mut libraries, mut signed_pages) = (None, Vec::new(), None);
        let mut commands = header.load_commands(endian, bytes, 0)?;
        while let Some(command) = commands.next()? {
            match command.variant()? {
                LoadCommandVariant::BuildVersion(build, _) => {
                    let platform = build.platform.get(endian);
                    ensure!(platform == macho::PLATFORM_MACOS, "it is not for macOS");
                    let version = build.minos.get(endian).0;
                    oldest = Some((version >> 16, version >> 8 & 0xff));
                }
                LoadCommandVariant::Dylib(library) => {
                    let path = command.string(endian, library.dylib.name)?;
                    libraries.push(String::from_utf8_lossy(path).into_owned());
                }
                LoadCommandVariant::LinkeditData(place)
                    if command.cmd() == macho::LC_CODE_SIGNATURE =>
                {
                    signed_pages = Some(verify(&place.code_signature(endian, bytes)?, bytes)?);
                }
                _ => {}
            }
        }
        Ok(Self {
            oldest: oldest.context("it does not say which macOS it is for")?,
            libraries,
            signed_pages: signed_pages.context("it is not signed, so no Mac would run it")?,
        })
    }

    /// Checks that the program starts on macOS `oldest` and loads nothing but the system's libraries,
    /// and none of those that are `unwanted`, by the names of their files.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub(super) fn require(&self, oldest: &str, system: &[&str], unwanted: &[&str]) -> Result<()> {
        let (major, minor) = self.oldest;
        ensure!(
            oldest == format!("{major}.{minor}"),
            "the program starts from macOS {major}.{minor} on instead of {oldest}"
        );
        let foreign = |path: &&String| !system.iter().any(|directory| path.starts_with(directory));
        if let Some(path) = self.libraries.iter().find(foreign) {
            bail!("the program loads {path}, which is not on every Mac");
        }
        let loads = |path: &&String| unwanted.contains(&file_name(path));
        match self.libraries.iter().find(loads) {
            Some(path) => bail!("the program loads {path} wherever it runs"),
            None => Ok(()),
        }
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.libraries.iter().map(|path| file_name(path));
        let (major, minor) = self.oldest;
        write!(
            f,
            "Mach-O arm64 from macOS {major}.{minor}, ad-hoc signature of {} pages right, loads {}",
            self.signed_pages,
            names.collect::<Vec<_>>().join(" ")
        )
    }
}

/// Checks every page of an ad-hoc signature, and returns how many there are.
fn verify(signature: &CodeSignature<'_>, bytes: &[u8]) -> Result<u32> {
    let mut blobs = signature.blobs();
    while let Some(blob) = blobs.next()? {
        if let Some(directory) = blob.code_directory()? {
            return verify_pages(&directory, bytes);
        }
    }
    bail!("its signature has no code directory")
}

fn verify_pages(directory: &CodeDirectory<'_>, bytes: &[u8]) -> Result<u32> {
    let header = directory.header();
    let flags: CsFlags = header.flags.get(BigEndian);
    ensure!(flags.0 & macho::CS_ADHOC.0 != 0, "its signature is not ad-hoc");
    ensure!(header.hash_type == macho::CS_HASHTYPE_SHA256, "its signature is not of SHA-256");
    let limit = usize::try_from(directory.code_limit())?;
    let code = bytes.get(..limit).context("its signature is for more than there is")?;
    let size = 1_usize.checked_shl(header.page_size.into()).context("pages of no size")?;
    let pages = header.n_code_slots.get(BigEndian);
    ensure!(code.chunks(size).len() == usize::try_from(pages)?, "its signature leaves pages out");
    for (index, page) in (0..).zip(code.chunks(size)) {
        let wanted = directory.code_hash(index)?;
        ensure!(Sha256::digest(page)[..] == *wanted, "page {index} is not as it was signed");
    }
    Ok(pages)
}

#[cfg(test)]
mod tests;
