//! Every setting there is.

use std::path::Path;

use toml::Value;

use super::value::Kind;

/// A setting.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// One line for `config dump`.
    pub(super) about: &'static str,
}

impl Key {
    /// The environment variable of this setting.
    pub(super) fn variable(&self) -> String {
        format!("METAL9_{}_{}", self.section.to_uppercase(), self.name.to_uppercase())
    }

    /// The setting's name in messages.
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The value if nobody says otherwise.
    pub(super) fn default(&self, home: &Path) -> Option<Value> {
        let local = |directory: &str| {
            let path = home.join(".metal9").join(directory);
            Some(Value::String(path.to_string_lossy().into_owned()))
        };
        match (self.section, self.name) {
            (section, "state_dir") => local(section),
            ("worker", "runtime") => Some(Value::String("native".to_owned())),
            ("worker", "isolation") => Some(Value::String("on".to_owned())),
            ("worker", "on_battery") => Some(Value::String("run".to_owned())),
            ("worker", "network") => Some(Value::String("full".to_owned())),
            ("worker" | "juicefs" | "images", _) => None,
            // `dev` listens where a gateway would.
            (_, name) => gateway_defaults().remove(name),
        }
    }
}

const fn key(section: &'static str, name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { section, name, kind, about }
}

/// The settings, section by section.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("gateway", "state_dir", Kind::Path, "where the gateway keeps its state"),
    key("gateway", "volumes_dir", Kind::Path, "where volumes are kept, if not below the state directory"),
    key("gateway", "grpc", Kind::Address, "where the client API and workers are served"),
    key("gateway", "http", Kind::Address, "where HTTP is served"),
    key("gateway", "advertise_host", Kind::Text, "the host that clients and workers are told"),
    key("gateway", "tls", Kind::Text, "self-signed for TLS with a certificate of the gateway's own"),
    key("gateway", "tls_cert", Kind::Path, "the certificate for TLS, in PEM format"),
    key("gateway", "tls_key", Kind::Path, "the certificate's key, in PEM format"),
    key("gateway", "tls_names", Kind::Text, "further names for the gateway's own certificate"),
    key("gateway", "audit_days", Kind::Count, "how long the audit log is kept"),
    key("gateway", "audit_rows", Kind::Count, "how many lines of the audit log are kept of each workspace"),
    key("gateway", "keep_warm_seconds", Kind::Number, "how long an idle function container is kept"),
    key("gateway", "client_grace_seconds", Kind::Count, "how long a call outlives its client"),
    key("gateway", "serve_timeout_seconds", Kind::Count, "how long `serve` waits for its client"),
    key("gateway", "worker_suspect_seconds", Kind::Number, "silence after which a worker gets no more work"),
    key("gateway", "worker_lost_seconds", Kind::Number, "silence after which a worker's tasks are retried"),
    key("gateway", "build_wait_seconds", Kind::Count, "how long an image build waits for a worker"),
    key("gateway", "keep_ended_days", Kind::Number, "days that ended tasks, results and output are kept"),
    key("gateway", "keep_ended_mib", Kind::Count, "room for them, 1 KiB for each counted in; when they take more, the oldest of who holds most go"),
    key("gateway", "keep_ended_at_least_seconds", Kind::Count, "seconds they are kept however little room there is"),
    key("gateway", "keep_unused_days", Kind::Number, "days after which code that nobody uses is removed"),
    key("gateway", "max_tasks_per_workspace", Kind::Count, "calls of a workspace that have not ended"),
    key("gateway", "max_argument_mib_per_workspace", Kind::Count, "arguments of those calls"),
    key("gateway", "max_streams_per_workspace", Kind::Count, "calls and logs that a workspace follows"),
    key("gateway", "max_values_per_workspace", Kind::Count, "map entries, queue items and signals of a workspace"),
    key("gateway", "max_value_mib_per_workspace", Kind::Count, "room for them"),
    key("gateway", "max_stubs_per_workspace", Kind::Count, "functions of a workspace, as they were defined at any time"),
    key("gateway", "max_stub_mib_per_workspace", Kind::Count, "room for their settings"),
    key("gateway", "max_connections", Kind::Count, "connections on both ports together"),
    key("gateway", "min_free_disk_mib", Kind::Count, "free space below which nothing new is accepted"),
    key("gateway", "allow_simulated_devices", Kind::Switch, "whether workers may offer devices that only pretend to be there"),
    key("gateway", "untrusted_pools", Kind::Text, "pools for code that nobody trusts, separated by commas: gVisor only"),
    key("gateway", "http_uploads", Kind::Switch, "whether the SDK sends code over HTTP: in parts, and later only what has changed"),
    key("worker", "state_dir", Kind::Path, "where the worker keeps environments, code and containers"),
    key("worker", "gateway", Kind::Text, "the gateway's gRPC address, if not the one that was joined"),
    key("worker", "pool", Kind::Text, "the pool, if not the one that was joined"),
    key("worker", "cpu", Kind::Number, "processor cores for jobs; all if not set"),
    key("worker", "memory_mib", Kind::Count, "memory for jobs; most of it if not set"),
    key("worker", "cache_mib", Kind::Count, "room for environments, code and the package cache; 20480 if not set"),
    key("worker", "cache_check_seconds", Kind::Count, "how often they are measured; 600 if not set"),
    key("worker", "uv", Kind::Path, "the uv that builds environments; found or fetched if not set"),
    key("worker", "python", Kind::Text, "the Python version for images that ask for any"),
    key("worker", "drain_seconds", Kind::Number, "how long running calls may go on after SIGTERM; 10 if not set"),
    key("worker", "copy_volumes", Kind::Switch, "whether jobs work on copies of volumes also on the gateway's machine"),
    key("worker", "keep_awake", Kind::Switch, "whether the machine is kept awake while jobs run; on a Mac it is if not set"),
    key("worker", "gpu_slots", Kind::Count, "jobs that an accelerator takes at a time; 1 if not set"),
    key("worker", "on_battery", Kind::Choice(&["run", "no-gpu", "rest"], "run, no-gpu or rest"), "what begins while the machine runs on a battery"),
    key("worker", "simulate_devices", Kind::Text, "devices to pretend to have, separated by commas, for trying things out"),
    key("worker", "labels", Kind::Labels, "labels that jobs can ask for"),
    key("worker", "cgroups", Kind::Switch, "whether cgroups hold containers, where there are any"),
    key("worker", "pids", Kind::Count, "most processes and threads of a container; 0 for any number"),
    key("worker", "cpu_limit_percent", Kind::Count, "most processor time of a container, in percent of its request"),
    key("worker", "runtime", Kind::Choice(&["native", "runc", "runsc"], "native, runc or runsc"), "what a container is: a process of the machine, or made by an OCI runtime"),
    key("worker", "isolation", Kind::Choice(&["on", "required", "off"], "on, required or off"), "whether jobs are isolated, and whether it must be in full"),
    key("worker", "network", Kind::Choice(&["full", "gateway-only", "none"], "full, gateway-only or none"), "what jobs may connect to"),
    key("worker", "job_user", Kind::Text, "the user that jobs run as; the worker's own if not set"),
    key("worker", "readable", Kind::Directories, "directories of this machine that jobs may read"),
    key("worker", "writable", Kind::Directories, "directories of this machine that jobs may write"),
    key("worker", "hidden", Kind::Directories, "directories of this machine that no job may see, whatever they are in"),
    key("worker", "cdi_dirs", Kind::Directories, "where files say what containers need for GPUs; /etc/cdi:/var/run/cdi if not set"),
    key("worker", "credential_hours", Kind::Count, "how old its credential gets; a week if not set, 0 for ever"),
    key("images", "cache_mib", Kind::Count, "room for container images and what builds keep; 40960 if not set"),
    key("images", "base", Kind::Text, "what a build begins with that names nothing; python:{version}-slim if not set"),
    key("images", "insecure_registries", Kind::Text, "registries without TLS, as host:port, separated by commas"),
    key("images", "layouts_dir", Kind::Path, "images from no registry, by name: OCI image layouts, as directories or archives"),
    key("images", "build_timeout_seconds", Kind::Count, "how long a build may take; 1800 if not set"),
    key("juicefs", "metadata", Kind::Secret, "where the file system of volumes has its metadata, as redis://:PASSWORD@host/1"),
    key("juicefs", "program", Kind::Path, "the juicefs; found or installed if not set"),
    key("juicefs", "cache_dir", Kind::Path, "where what was read is kept, if not below the state directory"),
    key("juicefs", "cache_mib", Kind::Count, "room for it; 4096 if not set"),
    key("juicefs", "format", Kind::Switch, "whether the gateway makes the file system if there is none"),
    key("juicefs", "name", Kind::Text, "its name then; metal9 if not set"),
    key("juicefs", "storage", Kind::Text, "the object storage of one that is made, as s3; a directory if not set"),
    key("juicefs", "bucket", Kind::Text, "its bucket, or the directory"),
    key("juicefs", "access_key", Kind::Text, "the name of its key"),
    key("juicefs", "secret_key", Kind::Secret, "the key"),
    key("juicefs", "share", Kind::Switch, "whether workers are told how to mount it; they are if not set"),
    key("juicefs", "own_mount", Kind::Switch, "whether a worker mounts it also on the gateway's machine"),
    key("dev", "state_dir", Kind::Path, "where `metal9 dev` keeps everything"),
    key("dev", "grpc", Kind::Address, "where the client API is served"),
    key("dev", "http", Kind::Address, "where HTTP is served"),
];

/// The gateway's own defaults, so that they are written down once.
fn gateway_defaults() -> toml::Table {
    let options = metal9_gateway::Options::new(std::path::PathBuf::new());
    toml::Table::try_from(options).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_option_of_the_gateway_is_a_setting() {
        let settings: BTreeSet<&str> =
            KEYS.iter().filter(|key| key.section == "gateway").map(|key| key.name).collect();
        let mut options: BTreeSet<String> = gateway_defaults().keys().cloned().collect();
        // What is not set does not show in TOML.
        let unset = [
            "advertise_host",
            "volumes_dir",
            "tls_cert",
            "tls_key",
            "tls_names",
            "untrusted_pools",
        ];
        options.extend(unset.map(str::to_owned));
        assert_eq!(settings, options.iter().map(String::as_str).collect());
    }

    #[test]
    fn every_default_is_of_its_own_kind() {
        for key in KEYS {
            if let Some(value) = key.default(Path::new("/home/me")) {
                assert!(key.kind.accept(value.clone()).is_some(), "{}: {value}", key.path());
            }
        }
    }
}
