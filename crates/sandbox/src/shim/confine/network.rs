//! A network with nothing but a loopback interface.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::isolation::Network;
use crate::wire::MAX_LISTENERS;

/// Sets the loopback interface up, which brings `::1` as well, and listens on it where the worker is
/// to relay. A socket stays in the network in which it was made, whoever uses it.
pub(super) fn set_up(network: Network) -> io::Result<Vec<OwnedFd>> {
    loopback_up()?;
    if network != Network::GatewayOnly {
        return Ok(Vec::new());
    }
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(OwnedFd::from);
    (0..MAX_LISTENERS).map(|_| listen()).collect()
}

fn loopback_up() -> io::Result<()> {
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: zeroes are a valid `ifreq`, which is plain numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = (*from).cast_signed();
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
    // SAFETY: the kernel reads an `ifreq`, which lives through the call.
    let done = unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw mut request) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
