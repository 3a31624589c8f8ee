//! One virtqueue as a front-end sets it up: addresses, and descriptors to be told through.
//!
//! ```text
//! stopped ── addresses + kick descriptor + enabled ──▶ started ── disabled or GET_VRING_BASE ──▶ stopped
//! ```
//!
//! The queue itself (`virtio_queue::Queue`) is kept beside, in one array for the whole device;
//! its `ready` flag says which state this ring is in.

use std::os::fd::OwnedFd;

use dhow_virtio::Interrupt;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// What is written to a call or error descriptor.
const SIGNAL: [u8; 8] = 1_u64.to_ne_bytes();

/// Ring addresses in the front-end's own address space.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) descriptors: u64,
    pub(crate) available: u64,
    pub(crate) used: u64,
}

/// The set-up of one virtqueue.
#[derive(Debug, Default)]
pub(crate) struct Vring {
    pub(crate) addresses: Option<Addresses>,
    pub(crate) enabled: bool,
    /// Where the guest's notifications arrive.
    pub(crate) kick: Option<OwnedFd>,
    /// Where the guest is told of used buffers; none where it polls.
    pub(crate) call: Option<OwnedFd>,
    /// Where the front-end is told that the device gave up on this queue.
    pub(crate) error: Option<OwnedFd>,
}

impl Vring {
    /// Tells the front-end that this queue is broken.
    pub(crate) fn signal_error(&self) {
        if let Some(error) = &self.error
            && let Err(errno) = signal(error)
        {
            tracing::debug!(%errno, "front-end was not told of a broken queue");
        }
    }
}

/// The call descriptors of all rings, for a device to signal through.
pub(crate) struct Calls<'a>(pub(crate) &'a [Vring]);

impl Interrupt for Calls<'_> {
    fn signal_used(&self, queue: u16) -> std::io::Result<()> {
        match self
            .0
            .get(usize::from(queue))
            .and_then(|vring| vring.call.as_ref())
        {
            Some(call) => Ok(signal(call)?),
            None => Ok(()),
        }
    }
}

/// Writes to an eventfd, or to the stream socket that User Mode Linux sends in its place.
fn signal(descriptor: &OwnedFd) -> Result<(), Errno> {
    match rustix::io::write(descriptor, &SIGNAL) {
        // A full descriptor holds a signal that nobody took yet. A closed one belonged to a
        // front-end that is gone; its socket reports the hang-up next.
        Ok(_) | Err(Errno::AGAIN | Errno::PIPE) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Makes sure that signalling through `descriptor` never waits for a guest to take earlier signals.
pub(crate) fn never_block(descriptor: &OwnedFd) -> Result<(), Errno> {
    let flags = fcntl_getfl(descriptor)?;
    fcntl_setfl(descriptor, flags | OFlags::NONBLOCK)
}
