//! Which of this process's environment variables the programs it runs may see.

use std::ffi::OsStr;

use tokio::process::Command;

/// What uv reads that says where packages come from and how to get there; all else of uv's is
/// decided here.
const UV_KEPT: &[&str] = &[
    "UV_CONFIG_FILE",
    "UV_DEFAULT_INDEX",
    "UV_EXCLUDE_NEWER",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_INSECURE_HOST",
    "UV_KEYRING_PROVIDER",
    "UV_NATIVE_TLS",
    "UV_NO_INDEX",
    "UV_OFFLINE",
    "UV_PYTHON_DOWNLOADS_JSON_URL",
    "UV_PYTHON_INSTALL_MIRROR",
    "UV_REQUEST_TIMEOUT",
    "UV_SYSTEM_CERTS",
];
/// Families of such variables.
const UV_KEPT_PREFIXES: &[&str] = &["UV_CONCURRENT_", "UV_HTTP_", "UV_INDEX"];
/// Variables that would change which Python runs and what it finds, and the platform's own secrets.
const DROPPED_PREFIXES: &[&str] =
    &["BETA9_", "CONDA", "METAL9_", "PYTHON", "VIRTUAL_ENV", "__PYVENV_"];
/// pip's names of settings that uv has under another name.
const FROM_PIP: &[(&str, &str, &[&str])] = &[
    ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", &["UV_DEFAULT_INDEX", "UV_INDEX_URL"]),
    ("PIP_EXTRA_INDEX_URL", "UV_EXTRA_INDEX_URL", &["UV_EXTRA_INDEX_URL", "UV_INDEX"]),
];

/// What other programs read that says the same.
const SOURCES: &[&str] = &[
    "PIP_CERT",
    "PIP_EXTRA_INDEX_URL",
    "PIP_INDEX_URL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
];

/// `true` for a variable that says where packages come from and how to get there: a worker that is
/// started without it finds none where its user does. Values may hold passwords.
#[must_use]
pub fn is_package_source(name: &str) -> bool {
    let is_proxy = name.ends_with("_proxy") && SOURCES.contains(&name.to_uppercase().as_str());
    SOURCES.contains(&name) || is_proxy || (name.starts_with("UV_") && is_kept(name))
}

/// `true` if a program may see the variable.
fn is_kept(name: &str) -> bool {
    if name.starts_with("UV_") {
        return UV_KEPT.contains(&name) || UV_KEPT_PREFIXES.iter().any(|p| name.starts_with(p));
    }
    !DROPPED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Takes from the command's environment what must not reach it.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if !name.to_str().is_some_and(is_kept) {
            command.env_remove(&name);
        }
    }
}

/// Gives uv the index settings that were made for pip, where none were made for uv.
pub(crate) fn translate_pip_settings(command: &mut Command) {
    for (theirs, ours, instead) in FROM_PIP {
        let set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if let Some(value) = std::env::var_os(theirs)
            && value != OsStr::new("")
            && !instead.iter().any(set)
        {
            command.env(ours, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_needs_what_says_where_packages_come_from() {
        for name in ["UV_DEFAULT_INDEX", "PIP_INDEX_URL", "SSL_CERT_FILE", "https_proxy"] {
            assert!(is_package_source(name), "{name}");
        }
        for name in ["UV_CACHE_DIR", "PATH", "PIP_CACHE_DIR", "my_proxy", "AWS_SECRET"] {
            assert!(!is_package_source(name), "{name}");
        }
    }

    #[test]
    fn index_and_certificate_settings_pass_and_python_settings_do_not() {
        for kept in [
            "UV_INDEX_URL",
            "UV_INDEX_CORP_PASSWORD",
            "UV_DEFAULT_INDEX",
            "UV_HTTP_TIMEOUT",
            "SSL_CERT_FILE",
            "HTTPS_PROXY",
            "PATH",
            "HOME",
        ] {
            assert!(is_kept(kept), "{kept}");
        }
        for dropped in [
            "UV_PYTHON",
            "UV_LINK_MODE",
            "UV_PROJECT_ENVIRONMENT",
            "UV_CACHE_DIR",
            "PYTHONPATH",
            "PYTHONDONTWRITEBYTECODE",
            "PYTHONUNBUFFERED",
            "VIRTUAL_ENV",
            "CONDA_PREFIX",
            "METAL9_TOKEN",
            "BETA9_TOKEN",
        ] {
            assert!(!is_kept(dropped), "{dropped}");
        }
    }
}
