//! The loop every request-and-reply device shares: take each available chain, serve it, give it
//! back, and tell the guest once.
//!
//! Rule: the queue is looked at once more after notifications are switched on again. Without that
//! second look a buffer that arrives in between is never announced (`VIRTIO_F_EVENT_IDX`), and the
//! guest waits for ever.

use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::GuestMemoryMmap;

use crate::device::{DeviceError, Progress, Queues};

/// Ring features that [`drain`] and the chain reader honour.
pub(crate) const RING_FEATURES: u64 =
    (1 << VIRTIO_RING_F_INDIRECT_DESC) | (1 << VIRTIO_RING_F_EVENT_IDX);

/// Requests served in one call.
///
/// A guest that refills its ring as fast as it is drained would otherwise hold the thread, and with
/// it the machine's other devices. Linux asks for at most 1,280 KiB of a disk at a time: 16 of those
/// take a few milliseconds. Coming back costs one look at the other devices' events.
const MAX_CHAINS_PER_CALL: usize = 16;

/// Serves the chains of one queue until none is left or the call has done its share, then signals
/// used buffers once.
///
/// `serve` returns how many bytes it wrote into the chain's writable part.
pub(crate) fn drain(
    queues: &mut Queues<'_>,
    index: u16,
    mut serve: impl FnMut(&GuestMemoryMmap, DescriptorChain<&GuestMemoryMmap>) -> u32,
) -> Result<Progress, DeviceError> {
    let broken = |source| DeviceError::Queue {
        queue: index,
        source,
    };
    let Some((memory, queue)) = queues.get(index) else {
        return Ok(Progress::Idle);
    };
    let mut left = MAX_CHAINS_PER_CALL;
    let mut fruitless = false;
    let progress = loop {
        queue.disable_notification(memory).map_err(broken)?;
        let before = left;
        while left > 0
            && let Some(chain) = next_chain(queue, memory).map_err(broken)?
        {
            let head = chain.head_index();
            let written = serve(memory, chain);
            queue.add_used(memory, head, written).map_err(broken)?;
            left -= 1;
        }
        if left == 0 {
            break Progress::More;
        }
        if !queue.enable_notification(memory).map_err(broken)? {
            break Progress::Idle;
        }
        if left == before && fruitless {
            // The index said more, yet nothing could be taken: the ring is not readable. Once is no
            // proof, for the guest may have added a chain after we looked.
            return Err(broken(virtio_queue::Error::InvalidAvailRingIndex));
        }
        fruitless = left == before;
    };
    if left < MAX_CHAINS_PER_CALL {
        queues.notify(index)?;
    }
    Ok(progress)
}

/// The next available chain. Unlike `pop_descriptor_chain`, tells an empty ring from a broken one.
pub(crate) fn next_chain<'a>(
    queue: &mut Queue,
    memory: &'a GuestMemoryMmap,
) -> Result<Option<DescriptorChain<&'a GuestMemoryMmap>>, virtio_queue::Error> {
    Ok(queue.iter(memory)?.next())
}
