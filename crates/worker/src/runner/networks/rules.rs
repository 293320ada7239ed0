//! The machine's rules for what containers send: made once, and made again when they are gone.
//!
//! Whoever reloads a firewall (`nft flush ruleset` is the first line of most configurations) takes them
//! away, and with them all that keeps containers from the machine. The kernel tells whoever asks of each
//! change to any rule, so that nothing has to be looked at while there is none.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};

use super::{delete, ip, output, run};

/// What becomes of packets. All workers of a machine share it; each makes it anew, which changes
/// nothing.
///
/// Besides the link-local ones, clouds tell secrets at addresses of their own: Azure at 168.63.129.16,
/// where it also answers for names, Alibaba at 100.100.100.200, Oracle at 192.0.0.192, and by IPv6 Amazon
/// at fd00:ec2::254 and Google at fd20:ce::254.
pub(super) const RULES: &str = "\
table inet metal9
delete table inet metal9
table inet metal9 {
    chain input {
        type filter hook input priority -10; policy accept;
        iifname \"m9v*\" ct state established,related accept
        iifname \"m9v*\" drop
    }
    chain forward {
        type filter hook forward priority -10; policy accept;
        iifname \"m9v*\" oifname \"m9v*\" drop
        iifname \"m9v*\" ip daddr 168.63.129.16 udp dport 53 accept
        iifname \"m9v*\" ip daddr 168.63.129.16 tcp dport 53 accept
        iifname \"m9v*\" ip daddr { 100.100.100.200, 168.63.129.16, 169.254.0.0/16, 192.0.0.192 } drop
        iifname \"m9v*\" ip6 daddr { fd00:ec2::254, fd20:ce::254, fe80::/10 } drop
        oifname \"m9v*\" ct state established,related accept
        oifname \"m9v*\" drop
    }
    chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 10.209.0.0/16 oifname != \"m9v*\" masquerade
    }
}
";

/// How long is waited for a change, in milliseconds, until it is seen that nobody wants rules any more.
const LOOK_EVERY: u16 = 5_000;

/// How long no second look is taken after one, where somebody changes rules all the time.
const CALM: Duration = Duration::from_millis(100);

/// The same where the rules had to be made again, or could not be.
const TROUBLED: Duration = Duration::from_secs(1);

/// The rules of this machine.
#[derive(Debug)]
pub(super) struct Rules {
    changes: Changes,
    /// How `nft` lists them.
    expected: String,
    /// Whether they were as expected before the changes that are still to be read.
    sound: Mutex<bool>,
}

impl Rules {
    /// Makes them. `aside` is the name of a namespace that nobody has, in which it is found out how they
    /// are listed. Blocks.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub(super) fn open(aside: &str) -> io::Result<Arc<Self>> {
        ip(&["netns", "add", aside], "")?;
        let listed = ip(&["netns", "exec", aside, "nft", "-f", "-"], RULES)
            .and_then(|()| list(Command::new("ip").args(["netns", "exec", aside, "nft"])));
        delete(aside);
        let expected = listed?;
        let rules = Self { changes: Changes::open()?, expected, sound: Mutex::new(false) };
        run(Command::new("nft").args(["-f", "-"]), RULES)?;
        rules.ensure()?;
        Ok(Arc::new(rules))
    }

    /// Sees to it that they are as they were made, and says whether they had to be made again. Takes
    /// microseconds unless somebody has changed rules of the machine, then some milliseconds.
    ///
    /// # Errors
    ///
    /// If they are not there and cannot be made. Then no container may be started.
    pub(super) fn ensure(&self) -> io::Result<bool> {
        let mut sound = self.sound.lock().unwrap_or_else(PoisonError::into_inner);
        if self.changes.take()? {
            *sound = false;
        }
        if *sound {
            return Ok(false);
        }
        let is_there = || list(&mut Command::new("nft")).is_ok_and(|now| now == self.expected);
        let gone = !is_there();
        if gone {
            run(Command::new("nft").args(["-f", "-"]), RULES)?;
            if !is_there() {
                return Err(io::Error::other(
                    "the rules for containers do not stay as they are made",
                ));
            }
            tracing::warn!(
                "the rules for containers' networks were changed by another program, and are made again"
            );
        }
        *sound = true;
        Ok(gone)
    }

    /// Makes them again whenever they are gone, for the containers that run; in the background, until
    /// nobody has them.
    ///
    /// # Errors
    ///
    /// If there can be no thread.
    pub(super) fn keep(self: &Arc<Self>) -> io::Result<()> {
        let (changes, rules) = (self.changes.0.try_clone()?, Arc::downgrade(self));
        let keep = move || {
            let mut is_open = false;
            while (is_open || wait(&changes))
                && let Some(rules) = rules.upgrade()
            {
                let done = rules.ensure();
                drop(rules);
                is_open = done.is_err();
                if let Err(error) = &done {
                    tracing::warn!(
                        %error,
                        "CONTAINERS REACH THIS MACHINE: the rules that keep them from it are gone"
                    );
                }
                thread::sleep(if matches!(done, Ok(false)) { CALM } else { TROUBLED });
            }
        };
        thread::Builder::new().name("rules".to_owned()).spawn(keep).map(drop)
    }
}

/// Waits for a change, or for some time; whether that can be done.
fn wait(changes: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(changes.as_fd(), PollFlags::POLLIN)];
    match poll(&mut polled, PollTimeout::from(LOOK_EVERY)) {
        Ok(_) | Err(Errno::EINTR) => true,
        Err(error) => {
            tracing::warn!(%error, "changes to the machine's rules cannot be waited for");
            false
        }
    }
}

/// How the rules are listed by `nft`, which `command` is.
fn list(command: &mut Command) -> io::Result<String> {
    output(command.args(["list", "table", "inet", "metal9"]), "")
}

/// What tells of each change to any rule of the network that this process is in.
#[derive(Debug)]
struct Changes(OwnedFd);

impl Changes {
    #[cfg(target_os = "linux")]
    fn open() -> io::Result<Self> {
        use nix::sys::socket::{
            AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket,
        };
        /// What the kernel calls the listeners to nftables; groups are bits, the first of which is 1.
        const NFTABLES: u32 = 7;

        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkNetFilter,
        )?;
        bind(socket.as_fd().as_raw_fd(), &NetlinkAddr::new(0, 1 << (NFTABLES - 1)))?;
        Ok(Self(socket))
    }

    #[cfg(not(target_os = "linux"))]
    fn open() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether there were any since this was last asked.
    fn take(&self) -> io::Result<bool> {
        let (mut any, mut message) = (false, [0; 8192]);
        loop {
            match recv(self.0.as_raw_fd(), &mut message, MsgFlags::MSG_DONTWAIT) {
                // Some were lost where there were more than are kept.
                Ok(_) | Err(Errno::ENOBUFS) => any = true,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(any),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
