//! The seam between the NIC and the network behind it, which knows no rings.

use std::io;
use std::os::fd::BorrowedFd;

/// Who computes the checksums of TCP and UDP. Those of IP headers and ICMP are always whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksums {
    /// The guest computes them. Otherwise a frame's may be unfinished, and must not be checked.
    pub whole_from_guest: bool,
    /// The guest checks those it gets. Otherwise they need not be computed: the guest is told with
    /// each frame that its checksum is right.
    pub checked_by_guest: bool,
}

/// What lies behind the NIC.
///
/// All calls come one at a time and none may block.
pub trait Link: Send {
    /// Readable (level-triggered) when [`poll`](Self::poll) has work: host sockets, timers,
    /// control. Asked once, before anything else.
    fn host_fd(&self) -> BorrowedFd<'_>;

    /// The guest's driver is up and agreed to this. Called before the first frame, and again after
    /// each [`reset`](Self::reset).
    fn agree(&mut self, checksums: Checksums);

    /// A frame from the guest: Ethernet, with its 802.1Q tag, at least 14 bytes and at most the
    /// MTU and 18. What is in it is the guest's word. After a batch of them the link is asked for
    /// its answers ([`transmit`](Self::transmit)).
    fn receive(&mut self, frame: &[u8]);

    /// Does what host sockets and timers made possible.
    ///
    /// # Errors
    /// The link is of no use until it is reset: the guest is told that its NIC broke.
    fn poll(&mut self) -> io::Result<()>;

    /// The next frame for the guest, written into `buffer`, which has room for the MTU and 18
    /// bytes; its length, or `None` when there is none now. Called only while the guest takes
    /// frames: those it has no buffers for stay with the link, and so must not keep
    /// [`host_fd`](Self::host_fd) readable.
    fn transmit(&mut self, buffer: &mut [u8]) -> Option<usize>;

    /// The guest's driver left: forget every flow.
    fn reset(&mut self);
}
