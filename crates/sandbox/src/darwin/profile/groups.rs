//! The rules that are the same for all jobs, or depend on a switch.

use super::text::{pattern, quote};
use super::{Profile, ProfileError, Reach, heading, rule};
use crate::isolation::{Access, FileRule};

/// Directories of the system, read and executed. Chromium's `common.sb` and ZLayer list the same; the
/// cryptexes hold what dyld loads since macOS 13 (ZLayer).
pub(super) const SYSTEM: [&str; 17] = [
    "/System/Library",
    "/System/Cryptexes",
    "/System/Volumes/Preboot/Cryptexes",
    "/usr/lib",
    "/usr/bin",
    "/usr/sbin",
    "/usr/libexec",
    "/usr/share",
    "/bin",
    "/sbin",
    "/Library/Apple",
    "/Library/GPUBundles",
    "/Library/Frameworks",
    // Compilers, for what builds its kernels when it runs.
    "/Library/Developer/CommandLineTools",
    "/usr/local",
    "/opt/homebrew",
    "/private/var/db/dyld",
];

/// What other programs keep below those: configuration, and the data of databases.
const SYSTEM_HIDDEN: [&str; 4] =
    ["/usr/local/etc", "/usr/local/var", "/opt/homebrew/etc", "/opt/homebrew/var"];

/// What programs read of the system's configuration; nothing that says who may do what.
const CONFIGURATION: [&str; 14] = [
    "/private/etc/hosts",
    "/private/etc/localtime",
    "/private/etc/group",
    "/private/etc/passwd",
    "/private/etc/protocols",
    "/private/etc/resolv.conf",
    "/private/etc/services",
    "/private/etc/shells",
    "/private/etc/ssl",
    "/private/var/db/timezone",
    "/private/var/run/resolv.conf",
    "/private/var/select",
    "/Library/Preferences/.GlobalPreferences.plist",
    "/Library/Preferences/com.apple.security.plist",
];

/// Links and directories that are looked at on the way to others.
const LOOKED_AT: [&str; 12] = [
    "/etc",
    "/tmp",
    "/var",
    "/private",
    "/private/etc",
    "/private/tmp",
    "/private/var",
    "/private/var/db",
    "/private/var/run",
    "/Library",
    "/System",
    "/usr",
];

/// Devices that hold nothing. dyld opens `dtracehelper` in every program.
const DEVICES: [&str; 5] =
    ["/dev/dtracehelper", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero"];

/// Services that every program asks: preferences, names of users, the log (Chromium's `common.sb`,
/// OpenAI Codex, sandbox-runtime).
const SERVICES: [&str; 7] = [
    "com.apple.cfprefsd.agent",
    "com.apple.cfprefsd.daemon",
    "com.apple.logd",
    "com.apple.system.logger",
    "com.apple.system.notification_center",
    "com.apple.system.opendirectoryd.libinfo",
    "com.apple.system.opendirectoryd.membership",
];

/// Services of who uses the network: names, proxies, whether a certificate is trusted (Codex).
const NETWORK_SERVICES: [&str; 4] = [
    "com.apple.SystemConfiguration.configd",
    "com.apple.SystemConfiguration.DNSConfiguration",
    "com.apple.dnssd.service",
    "com.apple.trustd.agent",
];

/// Keychains, whatever else allows services (nono denies the same).
const KEYCHAINS: [&str; 5] = [
    "com.apple.SecurityServer",
    "com.apple.secd",
    "com.apple.security.agent",
    "com.apple.security.keychaind",
    "com.apple.securityd",
];

/// Connections to drivers. `AGXDeviceUserClient` is the one that Metal cannot do without: measured by
/// nono (its pull request 635), sandbox-runtime (560) and agenc-core (1488, on macOS 26). With
/// `IOSurfaceRootUserClient` beside it MLX ran under k3sm's profile (M1 Ultra, macOS 26.5), and not
/// without; nono found that Metal does without, but fills the log. The shared one is ZLayer's and
/// fence's.
const DRIVERS: [&str; 6] = [
    "AGXDeviceUserClient",
    "AGXSharedUserClient",
    "IOSurfaceAcceleratorClient",
    "IOSurfaceRootUserClient",
    "IOSurfaceSendRight",
    "RootDomainUserClient",
];

/// The kernel of macOS 26.
const FINER_SINCE: u32 = 25;

/// Names of caches below a directory that is named after the program (tinygrad 2372).
const METAL_CACHES: &str = "com\\.apple\\.(metal|metalfe|gpuarchiver)";

fn each(filter: &str, values: &[&str]) -> Vec<String> {
    values.iter().map(|value| format!("({filter} \"{value}\")")).collect()
}

/// What every program needs of the system.
pub(super) fn system(text: &mut String) {
    heading(text, "the system");
    rule(text, "allow file-read* file-map-executable process-exec*", &each("subpath", &SYSTEM));
    rule(
        text,
        "deny file-read* file-map-executable process-exec*",
        &each("subpath", &SYSTEM_HIDDEN),
    );
    rule(text, "allow file-read*", &each("subpath", &CONFIGURATION));
    // The root directory can be listed: programs look which volumes there are.
    rule(text, "allow file-read*", &["(literal \"/\")".to_owned()]);
    rule(text, "allow file-read-metadata", &each("literal", &LOOKED_AT));
    rule(text, "allow file-read* file-write-data file-ioctl", &each("literal", &DEVICES));
    // Descriptors that the job has anyway.
    rule(text, "allow file-read* file-write-data", &each("subpath", &["/dev/fd"]));
    // Figures of the machine: processors, memory, versions (nono and ZLayer allow all).
    rule(text, "allow sysctl-read", &[]);
    // What the I/O registry says of devices (sandbox-runtime allows all).
    rule(text, "allow iokit-get-properties", &[]);
    rule(text, "allow mach-lookup", &each("global-name", &SERVICES));
}

/// Its own processes, and what they share memory by: `multiprocessing` needs semaphores, PyTorch's
/// loaders and OpenMP shared memory (Codex, sandbox-runtime).
pub(super) fn processes(text: &mut String) {
    heading(text, "its own processes");
    rule(text, "allow process-fork", &[]);
    for operation in ["signal", "process-info*", "mach-priv-task-port"] {
        rule(text, &format!("allow {operation}"), &["(target same-sandbox)".to_owned()]);
    }
    rule(text, "allow ipc-posix-sem ipc-posix-shm*", &[]);
}

/// Metal.
pub(super) fn gpu(text: &mut String, job: &Profile<'_>) -> Result<(), ProfileError> {
    let Profile { files, caches, .. } = *job;
    heading(text, "the GPU");
    // Which operation a connection is asked for by is `iokit-open-user-client` on macOS 26 (nono's log
    // of it); `iokit-open` still covers it there (ZLayer, k3sm). The name is not given to a system
    // that may not know it. Opening the service behind it needs no rule (k3sm's profile has none).
    let operations = match job.kernel >= FINER_SINCE {
        true => "allow iokit-open iokit-open-user-client",
        false => "allow iokit-open",
    };
    rule(text, operations, &each("iokit-user-client-class", &DRIVERS));
    // Every shader is compiled by a service, those of MPSGraph too (agenc-core, ZLayer). Chromium and
    // WebKit know it as an XPC service, agenc-core by its global name; the second one is ZLayer's.
    let mut compilers = each("xpc-service-name", &["com.apple.MTLCompilerService"]);
    compilers.extend(each("global-name", &["com.apple.MTLCompilerService"]));
    compilers.extend(each("xpc-service-name-prefix", &["com.apple.AGXCompilerService"]));
    // Makes the account's directory of caches when there is none yet (WebKit).
    compilers.extend(each("global-name", &["com.apple.bsd.dirhelper"]));
    rule(text, "allow mach-lookup", &compilers);
    let domains = ["com.apple.Metal", "com.apple.opengl"];
    rule(text, "allow user-preference-read", &each("preference-domain", &domains));
    // Metal hands the compiler the right to read the sources of shaders (Chromium, its issue 41485470).
    let class = "(extension-class \"com.apple.app-sandbox.read\")";
    for file in files.iter().filter(|file| readable(&file.access)) {
        let place = quote(&file.source)?;
        let both = format!("(require-all {class} (subpath {place}))");
        rule(text, "allow file-issue-extension", &[both]);
    }
    let Some(caches) = caches else { return Ok(()) };
    // Compiled shaders; without them Metal compiles again. What other programs of the account keep
    // beside them stays out of reach.
    let place = pattern(caches)?;
    let metal = format!("(regex #\"^{place}/[^/]+/{METAL_CACHES}(/|$)\")");
    rule(text, "allow file-read* file-write*", &[metal]);
    let parent = format!("(require-all (regex #\"^{place}/[^/]+$\") (vnode-type DIRECTORY))");
    rule(text, "allow file-read-metadata file-write-create", &[parent]);
    let above = caches.ancestors().filter(|path| path.parent().is_some());
    let above: Vec<String> = above
        .map(|path| Ok(format!("(literal {})", quote(path)?)))
        .collect::<Result<_, ProfileError>>()?;
    rule(text, "allow file-read-metadata", &above);
    Ok(())
}

fn readable(access: &Access) -> bool {
    matches!(access, Access::Read | Access::Execute | Access::Write)
}

/// What it connects to. The host of a filter can only be `localhost` or `*` (sandbox-runtime, nono);
/// `localhost` is also `::1`, and `ip` would be UDP too, where nobody relays.
pub(super) fn network(
    text: &mut String,
    reach: &Reach,
    files: &[FileRule],
) -> Result<(), ProfileError> {
    heading(text, "the network");
    match reach {
        Reach::Everything => {
            let any = |filter: &str| [format!("({filter} ip \"*:*\")")];
            rule(text, "allow network-outbound", &any("remote"));
            rule(text, "allow network-bind network-inbound", &any("local"));
            rule(text, "allow system-socket", &[]);
            rule(text, "allow mach-lookup", &each("global-name", &NETWORK_SERVICES));
            // Names are looked up through this socket. Others, as those of container engines, are as
            // good as root and stay closed.
            let names = each("literal", &["/private/var/run/mDNSResponder"]);
            rule(text, "allow network-outbound", &names);
        }
        Reach::Ports(ports) => {
            let ports: Vec<String> =
                ports.iter().map(|port| format!("(remote tcp \"localhost:{port}\")")).collect();
            if !ports.is_empty() {
                rule(text, "allow network-outbound", &ports);
            }
        }
        Reach::Nothing => {}
    }
    // Sockets among its own processes, as files in its own directory.
    let own = files.iter().filter(|file| file.access == Access::Write);
    for file in own {
        let place = format!("(subpath {})", quote(&file.source)?);
        rule(text, "allow network-bind network-inbound network-outbound", &[place]);
    }
    Ok(())
}

/// What nothing before may have opened.
pub(super) fn never(text: &mut String) {
    heading(text, "keychains");
    rule(text, "deny mach-lookup", &each("global-name", &KEYCHAINS));
}
