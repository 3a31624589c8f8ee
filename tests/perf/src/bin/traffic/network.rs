//! The network of a machine whose only program this is: one card, one fixed address.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;

use dhow_perf::peer::qemu::GUEST_ADDRESS;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// The card.
const NAME: &str = "eth0";

/// The network that QEMU's user networking hands out.
const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);

nix::ioctl_write_ptr_bad!(set_address, libc::SIOCSIFADDR, libc::ifreq);
nix::ioctl_write_ptr_bad!(set_mask, libc::SIOCSIFNETMASK, libc::ifreq);
nix::ioctl_write_ptr_bad!(set_flags, libc::SIOCSIFFLAGS, libc::ifreq);

/// Gives the card its address and brings it up.
pub(crate) fn bring_up() -> io::Result<()> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::empty(),
        None,
    )?;
    let address = request(libc::__c_anonymous_ifr_ifru {
        ifru_addr: internet(GUEST_ADDRESS)?,
    });
    // SAFETY: the request lives until the call returns, and has the address that it reads.
    unsafe { set_address(socket.as_raw_fd(), &raw const address) }?;
    let mask = request(libc::__c_anonymous_ifr_ifru {
        ifru_netmask: internet(MASK)?,
    });
    // SAFETY: as above.
    unsafe { set_mask(socket.as_raw_fd(), &raw const mask) }?;
    let flags = request(libc::__c_anonymous_ifr_ifru {
        ifru_flags: libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING)
            .map_err(io::Error::other)?,
    });
    // SAFETY: the request lives until the call returns, and has the flags that it reads.
    unsafe { set_flags(socket.as_raw_fd(), &raw const flags) }?;
    Ok(())
}

fn request(what: libc::__c_anonymous_ifr_ifru) -> libc::ifreq {
    let mut name: [libc::c_char; libc::IFNAMSIZ] = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(NAME.bytes()) {
        *to = from.cast_signed();
    }
    libc::ifreq {
        ifr_name: name,
        ifr_ifru: what,
    }
}

/// An address as the kernel reads it: family, then port (none), address and padding.
fn internet(address: Ipv4Addr) -> io::Result<libc::sockaddr> {
    let mut data = [0; 14];
    for (to, from) in data[2..].iter_mut().zip(address.octets()) {
        *to = from.cast_signed();
    }
    Ok(libc::sockaddr {
        sa_family: libc::AF_INET.try_into().map_err(io::Error::other)?,
        sa_data: data,
    })
}
