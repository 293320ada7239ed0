//! Fetching uv where there is none: its wheel is a zip file with the program in it, so that no
//! Python is needed.

use std::fs::{self, OpenOptions};
use std::io::{self, Cursor, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use metal9_tls::{Trust, blocking_agent};
use metal9_types::Platform;
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};
use ureq::Agent;
use zip::ZipArchive;

use super::index;

/// The wheels of the pinned version, each with its SHA-256, in the form of `sha256sum`.
const WHEELS: &str = include_str!("wheels.txt");
/// How long reaching a server may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// How long a whole answer may take.
const LIMIT: Duration = Duration::from_secs(600);
/// The largest page and the largest wheel that are read, in bytes.
const PAGE_BYTES: u64 = 64 * 1024 * 1024;
const WHEEL_BYTES: u64 = 128 * 1024 * 1024;
/// The largest program that is unpacked, in bytes.
const PROGRAM_BYTES: u64 = 512 * 1024 * 1024;

/// A wheel that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Wheel {
    pub(super) name: &'static str,
    sha256: &'static str,
}

impl Wheel {
    /// The wheel with a program for this kind of machine. Those for Linux serve every C library.
    pub(super) fn of(platform: Platform) -> Option<Self> {
        let tag = match platform {
            Platform::X86_64Linux => "musllinux_1_1_x86_64",
            Platform::Aarch64Linux => "musllinux_1_1_aarch64",
            Platform::Aarch64Darwin => "macosx_11_0_arm64",
        };
        wheels().find(|wheel| wheel.name.ends_with(&format!("{tag}.whl")))
    }
}

fn wheels() -> impl Iterator<Item = Wheel> {
    WHEELS
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(sha256, name)| Wheel { name, sha256 })
}

/// Fetches the wheel from the index of packages and puts its program at `program`.
///
/// # Errors
/// What went wrong, for a person.
pub(super) fn fetch(wheel: Wheel, version: &str, program: &Path) -> Result<(), String> {
    let agent = agent()?;
    let page = index::page(&index::address(), "uv");
    let html = get(&agent, &page)?;
    let mut text = String::new();
    html.take(PAGE_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| format!("{}: {error}", shown(&page)))?;
    let url = index::find(&text, &page, wheel.name)
        .ok_or_else(|| format!("{} does not list {}", shown(&page), wheel.name))?;
    // Who may read the index may read its files, unless they are somebody else's.
    let url = with_credentials_of(&page, url);
    let mut bytes = Vec::new();
    let read = get(&agent, &url)?.take(WHEEL_BYTES).read_to_end(&mut bytes);
    read.map_err(|error| format!("{}: {error}", shown(&url)))?;
    check(&bytes, wheel)?;
    unpack(Cursor::new(bytes), version, program).map_err(|error| format!("{}: {error}", wheel.name))
}

fn agent() -> Result<Agent, String> {
    let config = Agent::config_builder()
        .timeout_connect(Some(CONNECT_LIMIT))
        .timeout_global(Some(LIMIT))
        .user_agent(concat!("metal9/", env!("CARGO_PKG_VERSION")))
        .build();
    blocking_agent(config, &Trust::System).map_err(|error| match error.hint() {
        Some(hint) => format!("{error}: {hint}"),
        None => error.to_string(),
    })
}

fn get(agent: &Agent, url: &str) -> Result<impl Read + use<>, String> {
    let (bare, credentials) = split_credentials(url);
    let mut request = agent.get(&bare).header("accept", "text/html, */*;q=0.1");
    if let Some(credentials) = credentials {
        request =
            request.header("authorization", format!("Basic {}", STANDARD.encode(credentials)));
    }
    let answer = request.call().map_err(|error| format!("{bare}: {error}"))?;
    Ok(answer.into_body().into_reader())
}

/// Takes `user:password@` out of an address.
fn split_credentials(url: &str) -> (String, Option<String>) {
    let parts = url.split_once("://").and_then(|(scheme, rest)| {
        let end = rest.find('/').unwrap_or(rest.len());
        let (user, _) = rest[..end].rsplit_once('@')?;
        Some((format!("{scheme}://{}", &rest[user.len() + 1..]), user))
    });
    match parts {
        Some((bare, user)) => {
            (bare, Some(percent_decode_str(user).decode_utf8_lossy().into_owned()))
        }
        None => (url.to_owned(), None),
    }
}

/// Puts the credentials of a page into an address of the same server that has none.
fn with_credentials_of(page: &str, url: String) -> String {
    let authority = |url: &str| {
        url.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default().to_owned())
    };
    let (bare, _) = split_credentials(page);
    match (authority(page), authority(&bare), authority(&url)) {
        (Some(full), Some(host), Some(theirs)) if host == theirs => url.replacen(&theirs, &full, 1),
        _ => url,
    }
}

/// An address without its password.
fn shown(url: &str) -> String {
    split_credentials(url).0
}

fn check(bytes: &[u8], wheel: Wheel) -> Result<(), String> {
    let found: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if found == wheel.sha256 {
        return Ok(());
    }
    Err(format!("{} has the SHA-256 {found}, expected {}", wheel.name, wheel.sha256))
}

fn unpack(wheel: impl Read + Seek, version: &str, program: &Path) -> io::Result<()> {
    let mut archive = ZipArchive::new(wheel)?;
    let entry = archive.by_name(&format!("uv-{version}.data/scripts/uv"))?;
    if let Some(parent) = program.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o755).open(program)?;
    io::copy(&mut entry.take(PROGRAM_BYTES), &mut out)?;
    out.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::uv::{PINS, pinned};

    #[test]
    fn there_is_a_wheel_of_the_pinned_version_for_every_platform() {
        let version = pinned(PINS, "uv").unwrap();
        let platforms = [Platform::X86_64Linux, Platform::Aarch64Linux, Platform::Aarch64Darwin];
        for platform in platforms {
            let wheel = Wheel::of(platform).unwrap();
            assert!(wheel.name.starts_with(&format!("uv-{version}-")), "{wheel:?}");
            assert_eq!(wheel.sha256.len(), 64);
        }
        assert_eq!(wheels().count(), platforms.len());
    }

    #[test]
    fn another_file_than_the_expected_one_is_refused() {
        let wheel = Wheel::of(Platform::Aarch64Darwin).unwrap();
        let error = check(b"not uv", wheel).unwrap_err();
        assert!(error.contains("has the SHA-256") && error.contains(wheel.sha256), "{error}");
    }

    #[test]
    fn the_program_is_taken_out_of_a_wheel_and_can_be_run() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::tempfile().unwrap();
        let mut wheel = zip::ZipWriter::new(file);
        let plain = zip::write::SimpleFileOptions::default();
        for (name, text) in
            [("uv-1.2.3.data/scripts/uvx", "no"), ("uv-1.2.3.data/scripts/uv", "yes")]
        {
            wheel.start_file(name, plain).unwrap();
            wheel.write_all(text.as_bytes()).unwrap();
        }
        let file = wheel.finish().unwrap();
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("bin/uv");
        unpack(file.try_clone().unwrap(), "1.2.3", &program).unwrap();
        assert_eq!(fs::read_to_string(&program).unwrap(), "yes");
        assert_eq!(fs::metadata(&program).unwrap().permissions().mode() & 0o777, 0o755);
        let error = unpack(file, "9", &place.path().join("other")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_program_that_the_index_has_runs() {
        let version = pinned(PINS, "uv").unwrap();
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("bin/uv");
        fetch(Wheel::of(Platform::current().unwrap()).unwrap(), version, &program).unwrap();
        let said = std::process::Command::new(&program).arg("--version").output().unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.starts_with(&format!("uv {version}")), "{said}");
    }

    #[test]
    fn credentials_go_to_the_index_they_are_for_and_into_no_message() {
        let page = "https://ann:p%40ss@a.example/simple/uv/";
        assert_eq!(
            split_credentials(page),
            ("https://a.example/simple/uv/".into(), Some("ann:p@ss".into()))
        );
        assert_eq!(shown(page), "https://a.example/simple/uv/");
        let same = with_credentials_of(page, "https://a.example/f/uv.whl".into());
        assert_eq!(same, "https://ann:p%40ss@a.example/f/uv.whl");
        let other = "https://files.example/f@1/uv.whl";
        assert_eq!(with_credentials_of(page, other.into()), other);
        assert_eq!(split_credentials(other), (other.into(), None));
    }
}
