//! Every kind of profile as a file beside this one, and what the rules of each come to.

mod language;

use std::path::{Path, PathBuf};

use language::{Asked, Rules};

use super::*;
use crate::darwin::darwin_file_rules;
use crate::isolation::{Access, Entry, JobPaths, Machine};

/// A Mac on which `/tmp` is a link, as everywhere, and whose worker runs as `ada`.
struct Mac;

impl Machine for Mac {
    fn entry(&self, path: &Path) -> Entry {
        let real = path.strip_prefix("/tmp").map(|rest| Path::new("/private/tmp").join(rest));
        Entry::There(real.unwrap_or_else(|_| path.to_owned()))
    }
}

const CACHES: &str = "/private/var/folders/zz/x+1/C";

fn job() -> JobPaths {
    let state = PathBuf::from("/Users/ada/.metal9/worker");
    JobPaths {
        rooted: false,
        programs: vec![state.join("env/1f"), state.join("runner")],
        python: "/Users/ada/.local/share/uv/python/cpython-3.12/bin/python3.12".into(),
        own: state.join("containers/7"),
        temporary: state.join("containers/7/tmp"),
        readable: vec!["/Volumes/models".into()],
        writable: vec!["/tmp/results".into()],
        volumes: Vec::new(),
        hidden: vec![state],
    }
}

/// The kernels of macOS 15 and 26.
const KERNELS: [u32; 2] = [24, 25];

fn text(reach: Reach, gpu: bool, kernel: u32) -> String {
    let files = darwin_file_rules(&Mac, &job(), Path::new("/Users/ada"));
    let caches = Some(Path::new(CACHES));
    profile(&Profile { files: &files, reach, gpu, caches, kernel }).unwrap()
}

fn kinds() -> [(&'static str, Reach); 3] {
    [
        ("full", Reach::Everything),
        ("gateway-only", Reach::Ports(vec![50001, 50002])),
        ("none", Reach::Nothing),
    ]
}

#[test]
fn profiles_are_as_they_were_agreed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/darwin/profile/golden");
    for (network, reach) in kinds() {
        for gpu in [false, true] {
            let name = format!("{network}{}.sb", if gpu { "-gpu" } else { "" });
            let text = text(reach.clone(), gpu, KERNELS[0]);
            let path = directory.join(&name);
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            let golden = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(text, golden, "{name}; run with UPDATE_GOLDEN=1 if it is meant to change");
        }
    }
}

#[test]
fn newer_systems_get_the_finer_name_of_the_same_right() {
    for (_, reach) in kinds() {
        for gpu in [false, true] {
            let [older, newer] = KERNELS.map(|kernel| text(reach.clone(), gpu, kernel));
            let finer = "(allow iokit-open iokit-open-user-client\n";
            assert_eq!(newer, older.replace("(allow iokit-open\n", finer));
            assert_eq!(newer.contains("iokit-open-user-client"), gpu);
            assert!(!older.contains("iokit-open-"));
        }
    }
}

/// All kinds with their rules.
fn all() -> Vec<(Reach, bool, Rules)> {
    let mut all = Vec::new();
    for kernel in KERNELS {
        for (_, reach) in kinds() {
            for gpu in [false, true] {
                all.push((reach.clone(), gpu, Rules::read(&text(reach.clone(), gpu, kernel))));
            }
        }
    }
    all
}

#[test]
fn no_profile_lets_a_job_see_what_is_not_its_own() {
    for (_, _, rules) in all() {
        for path in [
            "/Users/ada/.ssh/id_ed25519",
            "/Users/ada/Library/Keychains/login.keychain-db",
            "/Users/bob/x",
            "/Library/Keychains/System.keychain",
            "/private/var/root/.ssh/id",
            "/Users/ada/.metal9/worker/worker.json",
            "/Users/ada/.metal9/worker/containers/8/code/app.py",
            "/private/tmp/other",
            "/private/etc/sudoers",
            "/private/var/db/dslocal/nodes/Default/users/ada.plist",
            "/opt/homebrew/var/postgresql/data",
            "/private/var/folders/zz/x+1/C/com.apple.Safari/x",
            "/Volumes/other/x",
        ] {
            for operation in ["file-read-data", "file-write-data", "process-exec"] {
                assert!(!rules.allow(operation, &Asked::Path(path)), "{operation} {path}");
            }
        }
        for path in
            ["/Users/ada/.metal9/worker/env/1f/bin/python", "/usr/lib/x", "/Volumes/models/x"]
        {
            assert!(rules.allow("file-read-data", &Asked::Path(path)), "{path}");
            assert!(!rules.allow("file-write-data", &Asked::Path(path)), "{path}");
        }
        for path in ["/Users/ada/.metal9/worker/containers/7/code/x", "/private/tmp/results/x"] {
            assert!(rules.allow("file-write-create", &Asked::Path(path)), "{path}");
        }
        // The way there can be looked at, but not listed.
        for path in ["/Users", "/Users/ada/.metal9", "/tmp"] {
            assert!(rules.allow("file-read-metadata", &Asked::Path(path)), "{path}");
            assert!(!rules.allow("file-read-data", &Asked::Path(path)), "{path}");
        }
        for service in ["com.apple.SecurityServer", "com.apple.securityd", "com.apple.windowserver"]
        {
            assert!(!rules.allow("mach-lookup", &Asked::Service(service)), "{service}");
        }
    }
}

#[test]
fn only_a_job_with_a_gpu_reaches_it() {
    for (_, gpu, rules) in all() {
        let device = Asked::Class("AGXDeviceUserClient");
        assert_eq!(rules.allow("iokit-open", &device), gpu);
        let compiler = Asked::Service("com.apple.MTLCompilerService");
        assert_eq!(rules.allow("mach-lookup", &compiler), gpu);
        let shader = format!("{CACHES}/python3.12/com.apple.metal/32024/libraries.data");
        assert_eq!(rules.allow("file-write-data", &Asked::Path(&shader)), gpu);
        let longer = format!("{CACHES}/python3.12/com.apple.metallic/x");
        assert!(!rules.allow("file-read-data", &Asked::Path(&longer)));
        assert!(!rules.allow("iokit-open", &Asked::Class("IOUSBDeviceUserClientV2")));
    }
}

#[test]
fn a_job_connects_to_what_its_policy_says() {
    for (reach, _, rules) in all() {
        let (full, relay) = (reach == Reach::Everything, reach == Reach::Ports(vec![50001, 50002]));
        for (address, expected) in [
            ("localhost:50001", full || relay),
            ("localhost:50003", full),
            ("example.com:443", full),
            ("192.168.1.2:22", full),
        ] {
            let asked = Asked::Remote("tcp", address);
            assert_eq!(rules.allow("network-outbound", &asked), expected, "{address}");
            // Nobody relays what is sent without a connection.
            let asked = Asked::Remote("udp", address);
            assert_eq!(rules.allow("network-outbound", &asked), full, "{address}");
        }
        assert_eq!(rules.allow("network-bind", &Asked::Local("localhost:8000")), full);
        let names = Asked::Path("/private/var/run/mDNSResponder");
        assert_eq!(rules.allow("network-outbound", &names), full);
        let docker = Asked::Path("/private/var/run/docker.sock");
        assert!(!rules.allow("network-outbound", &docker));
        let own = Asked::Path("/Users/ada/.metal9/worker/containers/7/tmp/s");
        assert!(rules.allow("network-bind", &own) && rules.allow("network-outbound", &own));
    }
}

#[test]
fn without_a_cache_directory_there_is_no_rule_for_one() {
    let job =
        Profile { files: &[], reach: Reach::Nothing, gpu: true, caches: None, kernel: KERNELS[1] };
    let gpu = profile(&job);
    assert!(!gpu.unwrap().contains("regex"));
}

#[test]
fn a_path_cannot_add_a_rule() {
    let files = [FileRule::new("/a\"))(allow default)(version 1", Access::Read)];
    let (reach, kernel) = (Reach::Nothing, KERNELS[0]);
    let job = Profile { files: &files, reach, gpu: true, caches: None, kernel };
    let rules = Rules::read(&profile(&job).unwrap());
    assert!(!rules.allow("file-read-data", &Asked::Path("/Users/ada/x")));
    let files = [FileRule::new("/a\nb", Access::Hidden)];
    let job = Profile { files: &files, ..job };
    assert_eq!(profile(&job), Err(ProfileError::Path { path: "/a\nb".into() }));
}
