//! What can be wrong with the configuration.

use std::io;
use std::path::PathBuf;

use super::Origin;

/// The configuration is wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read the configuration file `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the configuration file `{}` is not TOML", path.display())]
    Syntax { path: PathBuf, source: Box<toml::de::Error> },
    #[error("`{key}` in `{}` is no setting{}; expected one of {known}", path.display(), meant(nearest))]
    UnknownKey { path: PathBuf, key: String, nearest: Option<String>, known: String },
    #[error(
        "the environment variable `{name}` is no setting{}; expected one of {known}",
        meant(nearest)
    )]
    UnknownVariable { name: String, nearest: Option<String>, known: String },
    #[error("`{key}` ({origin}) is `{found}`; expected {expected}")]
    Value { key: String, origin: Origin, found: String, expected: &'static str },
    #[error("the settings of `[{name}]` do not fit together")]
    Section { name: &'static str, source: Box<toml::de::Error> },
}

fn meant(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}
