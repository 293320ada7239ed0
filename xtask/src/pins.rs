//! Versions of what is fetched from elsewhere, each written down once.

/// The SDK that this version is tested with, as a requirement.
pub(crate) const SDK: &str = include_str!("../../python/sdk.txt");

/// The oldest SDK that the Python package works with, as a requirement.
pub(crate) const OLDEST_SDK: &str = include_str!("../../python/sdk-oldest.txt");

/// What tests, examples and measurements need beside the SDK, one requirement a line.
pub(crate) const DEV: &str = include_str!("../../python/dev.txt");

/// The version of cargo-deny that reads `deny.toml`.
pub(crate) const CARGO_DENY: &str = "0.20.2";

/// The version of cargo-fuzz that runs what is in `fuzz/`.
pub(crate) const CARGO_FUZZ: &str = "0.13.2";

/// C compiler and linker for Macs, with the headers and exports of macOS' C library.
pub(crate) const ZIG: &str = "ziglang==0.17.1";

/// Makes cargo use zig.
pub(crate) const CARGO_ZIGBUILD: &str = "cargo-zigbuild==0.24.0";

/// The requirement of `name` in `requirements`, as `uv==1.2.3`.
pub(crate) fn requirement<'a>(requirements: &'a str, name: &str) -> Option<&'a str> {
    requirements
        .lines()
        .map(str::trim)
        .find(|line| line.split("==").next().is_some_and(|package| package.trim() == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uv_and_the_sdk_are_pinned() {
        assert!(requirement(DEV, "uv").is_some_and(|pin| pin.contains("==")));
        assert!(requirement(SDK, "beta9").is_some_and(|pin| pin.contains("==")));
        assert!(requirement(OLDEST_SDK, "beta9").is_some_and(|pin| pin.contains("==")));
        assert_eq!(requirement(DEV, "u"), None);
    }

    #[test]
    fn the_python_package_asks_for_the_oldest_sdk_it_is_tested_with() {
        let project = include_str!("../../python/metal9/pyproject.toml");
        let (name, version) = OLDEST_SDK.trim().split_once("==").unwrap();
        assert!(project.contains(&format!("\"{name}>={version},")), "{OLDEST_SDK}");
    }
}
