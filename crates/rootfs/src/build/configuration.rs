//! The files that tell buildah to keep to itself.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::guard::RUNTIME_COMMAND;
use super::root;
use crate::Credentials;

pub(super) const STORAGE: &str = "storage.conf";
pub(super) const CONTAINERS: &str = "containers.conf";
pub(super) const REGISTRIES: &str = "registries.conf";
pub(super) const POLICY: &str = "policy.json";
pub(super) const AUTH: &str = "auth.json";

/// What steps may do as root: what they need to install something, and no devices or packets of their own
/// making.
const CAPABILITIES: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Where buildah finds one of its files.
pub(super) fn path(name: &str) -> String {
    format!("{}/{name}", root::CONFIGURATION)
}

/// What buildah takes for the runtime. It has the runtime's own name.
pub(super) fn runtime(of: &Path) -> String {
    path(&of.file_name().unwrap_or_default().to_string_lossy())
}

/// What the files say.
#[derive(Debug)]
pub(super) struct Configuration<'a> {
    /// What runs steps.
    pub(super) runtime: &'a Path,
    pub(super) insecure_registries: &'a [String],
    /// The layout that the build begins with.
    pub(super) layout: Option<&'a Path>,
    /// How a registry knows us.
    pub(super) credentials: Option<(&'a str, &'a Credentials)>,
}

impl Configuration<'_> {
    /// Writes them.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let put = |name: &str, text: String| {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            options.open(directory.join(name))?.write_all(text.as_bytes())
        };
        put(STORAGE, storage()?)?;
        put(CONTAINERS, self.containers()?)?;
        put(REGISTRIES, self.registries()?)?;
        put(POLICY, self.policy())?;
        put(AUTH, self.auth())?;
        let guard = directory.join(self.runtime.file_name().unwrap_or_default());
        fs::write(&guard, self.guard())?;
        fs::set_permissions(&guard, fs::Permissions::from_mode(0o700))
    }

    /// Our own program, before the runtime.
    fn guard(&self) -> String {
        let runtime = self.runtime.to_string_lossy().replace('\'', "'\\''");
        format!("#!/bin/sh\nexec {} {RUNTIME_COMMAND} '{runtime}' \"$@\"\n", root::GUARD)
    }

    fn containers(&self) -> io::Result<String> {
        text(&json!({
            "containers": {
                // The usual ones are above what some machines let even root have.
                "default_ulimits": [],
                "default_capabilities": CAPABILITIES,
            },
            "engine": { "cgroup_manager": "cgroupfs", "runtime": runtime(self.runtime) },
        }))
    }

    fn registries(&self) -> io::Result<String> {
        let registry = |host: &String| json!({ "location": host, "insecure": true });
        let insecure: Vec<_> = self.insecure_registries.iter().map(registry).collect();
        text(&json!({ "unqualified-search-registries": ["docker.io"], "registry": insecure }))
    }

    fn auth(&self) -> String {
        let Some((registry, Credentials { user, password })) = self.credentials else {
            return json!({ "auths": {} }).to_string();
        };
        let auth = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let auths = serde_json::Map::from_iter([(registry.to_owned(), json!({ "auth": auth }))]);
        json!({ "auths": auths }).to_string()
    }

    /// Images come from registries, or are the one layout that was meant: a Dockerfile could name other
    /// files of this machine as one otherwise.
    fn policy(&self) -> String {
        let anything = json!([{ "type": "insecureAcceptAnything" }]);
        let mut transports = json!({
            "docker": { "": anything },
            "containers-storage": { "": anything },
        });
        if let Some(path) = self.layout.and_then(Path::to_str) {
            for transport in ["oci", "oci-archive"] {
                transports[transport][path] = anything.clone();
            }
        }
        json!({ "default": [{ "type": "reject" }], "transports": transports }).to_string()
    }
}

fn storage() -> io::Result<String> {
    // What is mounted is over with the process, and is remembered no longer.
    let (graph, run) = (root::STORAGE, "/run/storage");
    text(&json!({ "storage": { "driver": "overlay", "graphroot": graph, "runroot": run } }))
}

fn text(value: &serde_json::Value) -> io::Result<String> {
    toml::to_string(value).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_say_what_they_should() {
        let credentials = Credentials { user: "me".into(), password: "hush".into() };
        let configuration = Configuration {
            runtime: Path::new("/opt/it's/crun"),
            insecure_registries: &["127.0.0.1:5000".to_owned()],
            layout: Some(Path::new("/srv/a.tar")),
            credentials: Some(("reg", &credentials)),
        };
        let read = |text: io::Result<String>| text.unwrap().parse::<toml::Table>().unwrap();
        assert_eq!(read(storage())["storage"]["driver"].as_str(), Some("overlay"));
        let containers = read(configuration.containers());
        let runtime = containers["engine"]["runtime"].as_str();
        assert_eq!(runtime, Some("/metal9/configuration/crun"));
        let guard = "#!/bin/sh\nexec /metal9/guard build-runtime '/opt/it'\\''s/crun' \"$@\"\n";
        assert_eq!(configuration.guard(), guard);
        let registries = read(configuration.registries());
        assert_eq!(registries["registry"][0]["location"].as_str(), Some("127.0.0.1:5000"));
        assert_eq!(registries["registry"][0]["insecure"].as_bool(), Some(true));
        assert_eq!(registries["unqualified-search-registries"][0].as_str(), Some("docker.io"));
        assert_eq!(configuration.auth(), r#"{"auths":{"reg":{"auth":"bWU6aHVzaA=="}}}"#);
        let policy: serde_json::Value = serde_json::from_str(&configuration.policy()).unwrap();
        assert_eq!(policy["default"][0]["type"], "reject");
        let archives = policy["transports"]["oci-archive"].as_object().unwrap();
        assert_eq!(archives.keys().collect::<Vec<_>>(), ["/srv/a.tar"]);
        assert!(policy["transports"].get("dir").is_none());
        let directory = tempfile::tempdir().unwrap();
        configuration.write(directory.path()).unwrap();
        assert!(configuration.write(directory.path()).is_err(), "nothing is written over");
    }
}
