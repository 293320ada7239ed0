//! The files that tell buildah to keep to itself.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::Credentials;

pub(super) const STORAGE: &str = "storage.conf";
pub(super) const CONTAINERS: &str = "containers.conf";
pub(super) const REGISTRIES: &str = "registries.conf";
pub(super) const POLICY: &str = "policy.json";
pub(super) const AUTH: &str = "auth.json";

/// What the files say.
#[derive(Debug)]
pub(super) struct Configuration<'a> {
    /// Where buildah keeps images.
    pub(super) storage: &'a Path,
    /// What runs steps; nothing for buildah itself.
    pub(super) runtime: Option<&'a Path>,
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
        put(STORAGE, self.storage()?)?;
        put(CONTAINERS, self.containers()?)?;
        put(REGISTRIES, self.registries()?)?;
        put(POLICY, self.policy())?;
        put(AUTH, self.auth())
    }

    fn storage(&self) -> io::Result<String> {
        let graph = self.storage.join("storage");
        let run = self.storage.join("run");
        text(&json!({ "storage": { "driver": "overlay", "graphroot": graph, "runroot": run } }))
    }

    fn containers(&self) -> io::Result<String> {
        let runtime = self.runtime.unwrap_or_else(|| Path::new("runc"));
        text(&json!({
            // The usual ones are above what some machines let even root have.
            "containers": { "default_ulimits": [] },
            "engine": { "cgroup_manager": "cgroupfs", "runtime": runtime },
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
            storage: Path::new("/cache/bu \"ildah"),
            runtime: Some(Path::new("/usr/bin/crun")),
            insecure_registries: &["127.0.0.1:5000".to_owned()],
            layout: Some(Path::new("/srv/a.tar")),
            credentials: Some(("reg", &credentials)),
        };
        let read = |text: io::Result<String>| text.unwrap().parse::<toml::Table>().unwrap();
        let storage = read(configuration.storage());
        assert_eq!(storage["storage"]["graphroot"].as_str(), Some("/cache/bu \"ildah/storage"));
        let containers = read(configuration.containers());
        assert_eq!(containers["engine"]["runtime"].as_str(), Some("/usr/bin/crun"));
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
