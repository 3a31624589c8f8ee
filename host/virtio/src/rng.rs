//! The entropy device: whatever buffer the guest offers is filled from the host's `getrandom`.
//!
//! One queue, no features of its own, no configuration space. The kernel's generator never blocks
//! once the host has booted, so neither does [`Rng`].

use std::io;
use std::os::fd::BorrowedFd;

use nix::libc;
use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;

use crate::device::{DeviceError, Event, Progress, Queues, VirtioDevice};
use crate::faults::Faults;
use crate::ring::{MAX_REQUESTS_PER_CALL, RING_FEATURES, drain};
use crate::span::{Chain, GuestSpan};

/// The most random bytes given to one request; the rest of a longer buffer stays as it was and the
/// used length says so. A guest could otherwise ask for 4 GiB at a time and hold the thread.
const MAX_ENTROPY_BYTES: usize = 64 * 1024;

/// How much is asked of the kernel at a time: up to this size `getrandom` is never cut short by a
/// signal (getrandom(2)).
const ENTROPY_CHUNK_BYTES: usize = 256;

const REQUEST_QUEUE: u16 = 0;
const QUEUE_MAX_SIZES: [u16; 1] = [256];

/// A virtio entropy source (virtio 1.2, section 5.4).
#[derive(Debug)]
pub struct Rng {
    chain: Chain,
    faults: Faults,
}

impl Rng {
    /// An entropy source fed by the host kernel.
    #[must_use]
    pub fn new() -> Self {
        Self {
            chain: Chain::default(),
            faults: Faults::new("rng"),
        }
    }
}

impl Default for Rng {
    fn default() -> Self {
        Self::new()
    }
}

impl VirtioDevice for Rng {
    fn device_type(&self) -> u32 {
        VIRTIO_ID_RNG
    }

    fn queue_max_sizes(&self) -> &[u16] {
        &QUEUE_MAX_SIZES
    }

    fn features(&self) -> u64 {
        RING_FEATURES
    }

    fn read_config(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write_config(&mut self, _offset: u64, _data: &[u8]) {}

    fn activate(&mut self, _acked: u64) {}

    fn host_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn handle(&mut self, event: Event, queues: &mut Queues<'_>) -> Result<Progress, DeviceError> {
        if event != Event::Queue(REQUEST_QUEUE) {
            return Ok(Progress::Idle);
        }
        let Self { chain, faults } = self;
        drain(
            queues,
            REQUEST_QUEUE,
            MAX_REQUESTS_PER_CALL,
            |memory, descriptors| {
                if let Err(malformed) = chain.load(descriptors) {
                    faults.note(&malformed);
                    return 0;
                }
                let (_, mut target) = chain.spans(memory);
                fill(&mut target).unwrap_or_else(|source| {
                    faults.note(&source);
                    0
                })
            },
        )
    }

    fn reset(&mut self) {}
}

/// Fills up to [`MAX_ENTROPY_BYTES`] of `target` and says how many.
fn fill(target: &mut GuestSpan<'_>) -> io::Result<u32> {
    let mut written = 0;
    while written < MAX_ENTROPY_BYTES && target.length() > 0 {
        let mut chunk = [0; ENTROPY_CHUNK_BYTES];
        let wanted = target
            .length()
            .min(chunk.len())
            .min(MAX_ENTROPY_BYTES - written);
        let bytes = &mut chunk[..wanted];
        get_random(bytes)?;
        target.write_bytes(bytes)?;
        written += wanted;
    }
    Ok(u32::try_from(written).expect("bounded by MAX_ENTROPY_BYTES"))
}

fn get_random(bytes: &mut [u8]) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of one live, writable slice.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if usize::try_from(got) == Ok(bytes.len()) {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests;
