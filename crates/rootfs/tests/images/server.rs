//! A registry on loopback.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use metal9_rootfs::{Images, Settings};
use tempfile::TempDir;

/// The account and the password of a registry that wants one.
pub(crate) const ACCOUNT: (&str, &str) = ("me", "hush");
/// The same for the registry, which takes bcrypt only.
const HASHED: &str = "me:$2y$05$abcdefghijklmnopqrstuulzd.YqjLDl8lvpSmVj3De/fioSBHnUa";

/// Debian's registry, with an empty directory of its own.
pub(crate) struct Server {
    child: Child,
    /// `127.0.0.1:port`.
    pub(crate) host: String,
    directory: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// One that wants to know who asks.
    pub(crate) fn private() -> Self {
        Self::with("auth:\n  htpasswd:\n    realm: here\n    path: PASSWORDS\n")
    }

    fn with(auth: &str) -> Self {
        let program = program("docker-registry", "docker-registry");
        let directory = tempfile::tempdir().unwrap();
        let passwords = directory.path().join("passwords");
        std::fs::write(&passwords, HASHED).unwrap();
        // Free until somebody else is quicker, which the registry then says and ends.
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = directory.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: {host}\n  secret: s\n{}",
            directory.path().join("data").display(),
            auth.replace("PASSWORDS", passwords.to_str().unwrap()),
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(program);
        command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = String::new();
        loop {
            let line = said.next().unwrap_or_else(|| panic!("the registry ended:\n{log}")).unwrap();
            if line.contains("listening on") {
                break;
            }
            log += &format!("{line}\n");
        }
        // It stops when nobody reads what it says.
        std::thread::spawn(move || said.for_each(drop));
        Self { child, host, directory }
    }

    /// The file with a blob's bytes.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = self.directory.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that must be there.
pub(crate) fn program(name: &str, package: &str) -> PathBuf {
    let usual = ["/usr/bin", "/usr/sbin", "/bin"].map(|dir| PathBuf::from(dir).join(name));
    usual.into_iter().find(|path| path.exists()).unwrap_or_else(|| {
        panic!("there is no `{name}`, which this test needs: `apt-get install {package}`")
    })
}

/// Settings that let any test image in.
pub(crate) fn settings(hosts: &[&str]) -> Settings {
    Settings {
        budget_bytes: 1 << 30,
        max_image_bytes: 64 << 20,
        max_layer_bytes: 32 << 20,
        max_entries: 10_000,
        uid_shift: 0,
        insecure_registries: hosts.iter().map(|host| (*host).to_owned()).collect(),
    }
}

/// An empty cache.
pub(crate) async fn cache(settings: Settings) -> (TempDir, Images) {
    let directory = tempfile::tempdir().unwrap();
    let images = Images::open(directory.path(), settings).await.expect("this test runs as root");
    (directory, images)
}
