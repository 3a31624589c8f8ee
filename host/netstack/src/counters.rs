//! What happened, in numbers: cheap enough to keep for every frame.

/// Counts since the stack was made. Only ever grow.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Frames taken from the guest.
    pub frames_received: u64,
    /// Frames given to the guest.
    pub frames_transmitted: u64,
    /// Bytes of frames taken from the guest.
    pub bytes_received: u64,
    /// Bytes of frames given to the guest.
    pub bytes_transmitted: u64,
    /// Frames that were no frame of a network: too short, untagged, of an unknown VLAN.
    pub frames_malformed: u64,
    /// Packets that were wrong: lengths, checksums, fragments, impossible addresses.
    pub packets_malformed: u64,
    /// Packets of protocols or to destinations that are not carried.
    pub packets_dropped: u64,
    /// Frames that found the outbox full, as the guest did not read.
    pub outbox_overflows: u64,
    /// TCP connections whose host side connected.
    pub tcp_opened: u64,
    /// TCP connections refused: by the host, by a network's rules, or by a bound.
    pub tcp_refused: u64,
    /// TCP connections that ended by a reset, of either side.
    pub tcp_reset: u64,
    /// UDP flows made.
    pub udp_opened: u64,
    /// UDP flows given up for newer ones.
    pub udp_evicted: u64,
    /// Datagrams that a host socket did not take.
    pub udp_dropped: u64,
    /// DNS questions answered from names known here.
    pub dns_answered: u64,
    /// DNS questions passed to a nameserver of the host.
    pub dns_forwarded: u64,
    /// DNS questions that no nameserver answered, or that a bound refused.
    pub dns_failed: u64,
}
