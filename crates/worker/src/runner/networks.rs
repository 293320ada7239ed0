//! Networks of containers' own: a network namespace each, with an address that is translated to the
//! machine's on the way out.
//!
//! Made by `ip` and `nft`, which every Linux has that runs containers. Nothing comes in; the machine
//! itself, other containers and addresses at which clouds tell secrets are out of reach.

mod rules;

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use metal9_types::AllowList;

use rules::{RULES, Rules};

/// The addresses of containers: four for each, of which one is the machine's end and one its own.
const SUBNET: (u8, u8) = (10, 209);

/// How many containers have addresses at a time.
const MOST: u32 = 1 << 14;

/// How many places that others use are passed over in a row.
const TRIES: u32 = 256;

/// Where namespaces with names are.
const NAMESPACES: &str = "/run/netns";

/// What becomes of packets in a network whose job may reach nothing but a list, which is refused at
/// once instead of waiting for an answer. Nobody in there may change it, and it goes with the network.
/// Names are asked for like everything else: only of whom the list has.
fn held_to(list: &AllowList) -> String {
    let mut rules = String::from(
        "table inet metal9\ndelete table inet metal9\ntable inet metal9 {\n    chain output {\n        \
         type filter hook output priority 0; policy drop;\n        oif \"lo\" accept\n",
    );
    let texts = |networks: Vec<String>| networks.join(", ");
    let v4 = texts(list.v4.iter().map(ToString::to_string).collect());
    let v6 = texts(list.v6.iter().map(ToString::to_string).collect());
    for (family, networks) in [("ip", v4), ("ip6", v6)] {
        if !networks.is_empty() {
            let _ = writeln!(rules, "        {family} daddr {{ {networks} }} accept");
        }
    }
    rules.push_str(
        "        meta l4proto tcp reject with tcp reset\n        \
         reject with icmpx type admin-prohibited\n    }\n}\n",
    );
    rules
}

/// Makes networks.
#[derive(Debug)]
pub(crate) struct Networks {
    /// What the names of this worker's namespaces begin with.
    prefix: String,
    next: AtomicU32,
    /// Whether they can be held to a list.
    keep_lists: bool,
    /// What keeps all of them from the machine.
    rules: Arc<Rules>,
}

/// The network of one container; gone when this is dropped, in the background.
#[derive(Debug)]
pub(crate) struct OwnNetwork {
    name: String,
    rules: Arc<Rules>,
}

impl OwnNetwork {
    /// The namespace, as `setns` wants it.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new(NAMESPACES).join(&self.name)
    }
}

impl OwnNetwork {
    /// Looks whether the machine and its neighbours are still out of its reach, and sees to it.
    ///
    /// # Errors
    ///
    /// If that cannot be; then nothing may begin in it.
    pub(crate) async fn check(&self) -> io::Result<()> {
        let rules = Arc::clone(&self.rules);
        let done = tokio::task::spawn_blocking(move || rules.ensure()).await;
        done.map_err(io::Error::other)?.map(drop)
    }

    /// Refuses all but a list from now on, whatever else is refused anyway.
    ///
    /// # Errors
    ///
    /// If the system refuses; then nothing may run in it.
    pub(crate) async fn hold_to(&self, list: &AllowList) -> io::Result<()> {
        let (name, rules) = (self.name.clone(), held_to(list));
        let done = tokio::task::spawn_blocking(move || hold(&name, &rules)).await;
        done.map_err(io::Error::other)?
    }

    /// Removes it and returns when it is gone, so that another may have its name.
    pub(crate) async fn remove(mut self) {
        let name = std::mem::take(&mut self.name);
        let _ = tokio::task::spawn_blocking(move || delete(&name)).await;
    }
}

impl Drop for OwnNetwork {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        match tokio::runtime::Handle::try_current() {
            _ if name.is_empty() => {}
            Ok(runtime) => drop(runtime.spawn_blocking(move || delete(&name))),
            Err(_) => delete(&name),
        }
    }
}

fn hold(name: &str, rules: &str) -> io::Result<()> {
    ip(&["netns", "exec", name, "nft", "-f", "-"], rules)
}

fn delete(name: &str) {
    if let Err(error) = ip(&["netns", "delete", name], "") {
        tracing::warn!(name, %error, "could not remove the network of a container");
    }
}

impl Networks {
    /// Sets the machine up for them, sees to it that it stays so, and removes what an earlier run has left.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// If this machine has no such thing, or it may not be used.
    pub(crate) fn open(prefix: &str) -> io::Result<Arc<Self>> {
        for entry in fs::read_dir(NAMESPACES).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-')) {
                // One that stays does no harm: what is in it is no container of this run.
                delete(&name);
            }
        }
        // The name of one that stayed cannot be had again.
        let probe = format!("probe{}", std::process::id());
        let rules = Rules::open(&format!("{prefix}-{probe}"))?;
        let (prefix, next) = (prefix.to_owned(), AtomicU32::new(0));
        let mut networks = Self { prefix, next, keep_lists: true, rules };
        fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        // Whether all of it can be had shows only when one is made.
        let probe = networks.make(&probe)?;
        if let Err(error) = hold(&probe.name, &held_to(&AllowList::default())) {
            tracing::warn!(%error, "functions with an `allow_list` cannot run here");
            networks.keep_lists = false;
        }
        drop(probe);
        networks.rules.keep()?;
        Ok(Arc::new(networks))
    }

    /// Whether they can be held to a list.
    pub(crate) fn keep_lists(&self) -> bool {
        self.keep_lists
    }

    /// A network for the container of this name. Blocks for some ten milliseconds.
    ///
    /// # Errors
    ///
    /// If the system refuses, or what keeps containers from the machine is gone for good.
    pub(crate) fn make(&self, name: &str) -> io::Result<OwnNetwork> {
        self.rules.ensure()?;
        let name = format!("{}-{name}", self.prefix);
        ip(&["netns", "add", &name], "")?;
        let network = OwnNetwork { name, rules: Arc::clone(&self.rules) };
        let place = self.link(&network.name)?;
        let [machine, own] = addresses(place);
        let (batch, inside) = (
            format!("addr add {machine}/30 dev m9v{place}\nlink set m9v{place} up\n"),
            format!(
                "link set lo up\naddr add {own}/30 dev eth0\nlink set eth0 up\n\
                 route add default via {machine}\n"
            ),
        );
        ip(&["-batch", "-"], &batch)?;
        ip(&["-n", &network.name, "-batch", "-"], &inside)?;
        Ok(network)
    }

    /// A pair of interfaces, one of them in the namespace, at a place that nobody uses: also other
    /// workers of this machine look for one, and the kernel takes each name once.
    fn link(&self, name: &str) -> io::Result<u32> {
        let mut failed = io::Error::other("every address is in use");
        for _ in 0..TRIES {
            let place = self.next.fetch_add(1, Ordering::Relaxed) % MOST;
            let (outside, kind) = (format!("m9v{place}"), ["type", "veth", "peer"]);
            let added = ip(
                &[&["link", "add", &*outside][..], &kind, &["name", "eth0", "netns", name]]
                    .concat(),
                "",
            );
            match added {
                Ok(()) => return Ok(place),
                Err(error) => failed = error,
            }
            if !is_there(&outside) {
                break;
            }
        }
        Err(failed)
    }
}

/// Whether the network that this process is in has an interface of this name. What `/sys` shows may be
/// another's.
fn is_there(interface: &str) -> bool {
    let listed = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    listed.lines().any(|line| line.split(':').next().is_some_and(|it| it.trim() == interface))
}

/// Whether networks can be made, found out without a change to the machine's: in one that is gone
/// afterwards. Blocks.
///
/// # Errors
///
/// If this machine has no such thing, or it may not be used.
pub(crate) fn try_out(name: &str) -> io::Result<()> {
    ip(&["netns", "add", name], "")?;
    let link = ["-n", name, "link", "add", "m9v0", "type", "veth", "peer", "name", "eth0"];
    let tried = ip(&link, "")
        .and_then(|()| hold(name, RULES))
        .and_then(|()| hold(name, &held_to(&AllowList::default())));
    delete(name);
    tried
}

/// The addresses of a place: the machine's and the container's.
fn addresses(place: u32) -> [String; 2] {
    let address = |offset: u32| {
        let [.., high, low] = (place * 4 + offset).to_be_bytes();
        format!("{}.{}.{high}.{low}", SUBNET.0, SUBNET.1)
    };
    [address(1), address(2)]
}

fn ip(arguments: &[&str], input: &str) -> io::Result<()> {
    run(Command::new("ip").args(arguments), input)
}

/// Runs a program of the system; what it says is the error if it fails.
fn run(command: &mut Command, input: &str) -> io::Result<()> {
    output(command, input).map(drop)
}

/// The same, for what it says if it does not fail.
fn output(command: &mut Command, input: &str) -> io::Result<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut child = command
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            let program = command.get_program().to_string_lossy();
            io::Error::new(error.kind(), format!("`{program}` cannot be started: {error}"))
        })?;
    // Who reads none of it has failed, and says why.
    let written = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    if output.status.success() {
        return written.map(|()| String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let program = command.get_program().to_string_lossy();
    let said = if said.trim().is_empty() { output.status.to_string() } else { said.trim().into() };
    Err(io::Error::other(format!("`{program}` failed: {said}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_becomes_rules_of_both_kinds() {
        let entries = ["203.0.113.0/24", "198.51.100.2", "2001:db8::/32"].map(str::to_owned);
        let rules = held_to(&AllowList::parse(&entries).unwrap());
        let expected = "\
table inet metal9
delete table inet metal9
table inet metal9 {
    chain output {
        type filter hook output priority 0; policy drop;
        oif \"lo\" accept
        ip daddr { 198.51.100.2/32, 203.0.113.0/24 } accept
        ip6 daddr { 2001:db8::/32 } accept
        meta l4proto tcp reject with tcp reset
        reject with icmpx type admin-prohibited
    }
}
";
        assert_eq!(rules, expected);
        assert!(!held_to(&AllowList::default()).contains("daddr"));
    }

    #[test]
    fn a_program_that_reads_nothing_is_still_heard() {
        let mut fails = Command::new("sh");
        let failed = run(fails.args(["-c", "echo no such luck >&2; exit 3"]), &"x".repeat(1 << 20));
        assert_eq!(failed.unwrap_err().to_string(), "`sh` failed: no such luck");
        let silent = run(Command::new("sh").args(["-c", "exit 3"]), "").unwrap_err();
        assert_eq!(silent.to_string(), "`sh` failed: exit status: 3");
        let said = output(Command::new("cat").arg("-"), "what it says").unwrap();
        assert_eq!(said, "what it says");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn interfaces_are_those_of_the_own_network() {
        assert!(is_there("lo") && !is_there("l") && !is_there("m9v-none"));
    }

    #[test]
    fn every_place_has_addresses_of_its_own() {
        assert_eq!(addresses(0), ["10.209.0.1", "10.209.0.2"]);
        assert_eq!(addresses(64), ["10.209.1.1", "10.209.1.2"]);
        assert_eq!(addresses(MOST - 1), ["10.209.255.253", "10.209.255.254"]);
    }
}
