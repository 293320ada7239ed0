//! Every environment variable that the command line reads. Those of settings are named after their
//! key, as `METAL9_GATEWAY_GRPC` after `grpc` in `[gateway]`.

/// The configuration file. Since 0.1.
pub(crate) const CONFIG: &str = "METAL9_CONFIG";

/// What to log, in the syntax of `--log`. Since 0.1.
pub(crate) const LOG: &str = "METAL9_LOG";

/// `json` for one JSON object a line in the log. Since 0.1.
pub(crate) const LOG_FORMAT: &str = "METAL9_LOG_FORMAT";

/// The gateway's gRPC address for commands that ask it something, as `host:port`. Since 0.1.
pub(crate) const GATEWAY: &str = "METAL9_GATEWAY";

/// The gateway's HTTP address for the same. Since 0.1.
pub(crate) const HTTP: &str = "METAL9_HTTP";

/// The token for the same. Since 0.1.
pub(crate) const TOKEN: &str = "METAL9_TOKEN";

/// The fingerprint of the gateway's key for the same. Since 0.1.
pub(crate) const FINGERPRINT: &str = "METAL9_FINGERPRINT";

/// Where gRPC's own clients, the SDK among them, look for the certificates they trust.
pub(crate) const GRPC_ROOTS: &str = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH";

/// The SDK's own names for the same. Since 0.1.
pub(crate) const SDK_HOST: &str = "BETA9_GATEWAY_HOST";
/// See [`SDK_HOST`].
pub(crate) const SDK_PORT: &str = "BETA9_GATEWAY_PORT";
/// See [`SDK_HOST`].
pub(crate) const SDK_API_URL: &str = "BETA9_API_URL";
/// See [`SDK_HOST`].
pub(crate) const SDK_TOKEN: &str = "BETA9_TOKEN";

/// The SDK's configuration file. Since 0.1.
pub(crate) const SDK_CONFIG: &str = "CONFIG_PATH";

/// Who has called `sudo`.
pub(crate) const SUDO_USER: &str = "SUDO_USER";

/// The Python environment that is active in the shell.
pub(crate) const VIRTUAL_ENV: &str = "VIRTUAL_ENV";

/// A variable's value; one that is empty counts as not set.
pub(crate) fn read(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// All variables whose names and values are text.
pub(crate) fn all() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
