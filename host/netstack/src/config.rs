//! What an owner can choose when it makes a stack.

use std::path::PathBuf;

use crate::limits;

/// How a [`crate::Netstack`] is made.
#[derive(Debug, Clone)]
pub struct NetstackConfig {
    /// The longest IP packet of the link, as offered to the guest.
    pub mtu: u16,
    /// Who computes the checksums of TCP and UDP.
    pub checksums: Checksums,
    /// The host's resolver configuration, read again when it changes.
    pub resolv_conf: PathBuf,
    /// The host's names, read again when they change.
    pub hosts: PathBuf,
    /// How many TCP connections there may be at once.
    pub max_tcp_flows: usize,
    /// How many UDP flows there may be at once; the longest silent one makes room for a new one.
    pub max_udp_flows: usize,
}

impl Default for NetstackConfig {
    fn default() -> Self {
        Self {
            mtu: limits::MTU,
            checksums: Checksums::default(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            hosts: PathBuf::from("/etc/hosts"),
            max_tcp_flows: limits::MAX_TCP_FLOWS,
            max_udp_flows: limits::MAX_UDP_FLOWS,
        }
    }
}

/// Which checksums of TCP, UDP and ICMP are worth computing. The link is memory of one machine,
/// so a driver that agrees to leave them out loses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksums {
    /// The guest computes them and we verify (`false` with `VIRTIO_NET_F_CSUM` negotiated).
    pub verify: bool,
    /// We compute them for the guest (`false` with `VIRTIO_NET_F_GUEST_CSUM` negotiated and
    /// frames marked as valid).
    pub fill: bool,
}

impl Default for Checksums {
    fn default() -> Self {
        Self {
            verify: true,
            fill: true,
        }
    }
}
