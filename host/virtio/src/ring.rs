//! What devices share on their rings: the loop of those that are asked and answer (take each
//! available chain, serve it, give it back, and tell the guest once), and giving back several chains
//! as one.
//!
//! Rule: the queue is looked at once more after notifications are switched on again. Without that
//! second look a buffer that arrives in between is never announced (`VIRTIO_F_EVENT_IDX`), and the
//! guest waits for ever.

use std::sync::atomic::{Ordering, fence};

use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::device::{DeviceError, Progress, Queues};

/// Ring features that [`drain`] and the chain reader honour.
pub(crate) const RING_FEATURES: u64 =
    (1 << VIRTIO_RING_F_INDIRECT_DESC) | (1 << VIRTIO_RING_F_EVENT_IDX);

/// Requests that a device of slow requests serves in one call.
///
/// A guest that refills its ring as fast as it is drained would otherwise hold the thread, and with
/// it the machine's other devices. Linux asks for at most 1,280 KiB of a disk at a time: 16 of those
/// take a few milliseconds. Coming back costs one look at the other devices' events.
pub(crate) const MAX_REQUESTS_PER_CALL: usize = 16;

/// Serves the chains of one queue until none is left or `limit` are served, then signals used
/// buffers once.
///
/// `serve` returns how many bytes it wrote into the chain's writable part.
pub(crate) fn drain(
    queues: &mut Queues<'_>,
    index: u16,
    limit: usize,
    mut serve: impl FnMut(&GuestMemoryMmap, DescriptorChain<&GuestMemoryMmap>) -> u32,
) -> Result<Progress, DeviceError> {
    let broken = |source| DeviceError::Queue {
        queue: index,
        source,
    };
    let Some((memory, queue)) = queues.get(index) else {
        return Ok(Progress::Idle);
    };
    let mut left = limit;
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
    if left < limit {
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

/// Bytes of a used ring before its elements: flags and index (virtio 1.2, section 2.7.8).
const USED_HEADER_BYTES: u64 = 4;

/// Where the index is in there.
const USED_INDEX_OFFSET: u64 = 2;

/// Bytes of a used ring's element: a head and a length.
const USED_ELEMENT_BYTES: u64 = 8;

/// Gives chains back to the guest, heads and written lengths, all at the same moment.
///
/// A guest that looks at its ring while we write must not see some buffers of a frame without the
/// others: Linux drops such a frame. `Queue::add_used` shows each one at once.
pub(crate) fn publish(
    queue: &mut Queue,
    memory: &GuestMemoryMmap,
    used: &[(u16, u32)],
) -> Result<(), virtio_queue::Error> {
    let at = |offset: u64| {
        let address = queue.used_ring().checked_add(offset).map(GuestAddress);
        address.ok_or(virtio_queue::Error::AddressOverflow)
    };
    let mut next = queue.next_used();
    for &(head, written) in used {
        if head >= queue.size() {
            return Err(virtio_queue::Error::InvalidDescriptorIndex);
        }
        let slot = u64::from(next % queue.size());
        let element = u64::from(written) << u32::BITS | u64::from(head);
        memory
            .write_obj(
                element.to_le(),
                at(USED_HEADER_BYTES + slot * USED_ELEMENT_BYTES)?,
            )
            .map_err(virtio_queue::Error::GuestMemory)?;
        next = next.wrapping_add(1);
    }
    memory
        .store(next.to_le(), at(USED_INDEX_OFFSET)?, Ordering::Release)
        .map_err(virtio_queue::Error::GuestMemory)?;
    queue.set_next_used(next);
    Ok(())
}

/// Bytes of an available ring before its elements: flags and index (virtio 1.2, section 2.7.6).
const AVAILABLE_HEADER_BYTES: u64 = 4;

/// Bytes of an available ring's element: a head.
const AVAILABLE_ELEMENT_BYTES: u64 = 2;

/// Whether the guest wants to know that the used index moved on from `told`, as
/// `Queue::needs_notification` says of what `Queue::add_used` did.
pub(crate) fn wants_notification(
    queue: &Queue,
    memory: &GuestMemoryMmap,
    told: u16,
) -> Result<bool, virtio_queue::Error> {
    let used = queue.next_used();
    if used == told || !queue.event_idx_enabled() {
        return Ok(used != told);
    }
    // What was published must be there for the guest before we read what it waits for.
    fence(Ordering::SeqCst);
    let behind = AVAILABLE_HEADER_BYTES + AVAILABLE_ELEMENT_BYTES * u64::from(queue.size());
    let address = queue.avail_ring().checked_add(behind).map(GuestAddress);
    let address = address.ok_or(virtio_queue::Error::AddressOverflow)?;
    let event: u16 = memory
        .load(address, Ordering::Relaxed)
        .map_err(virtio_queue::Error::GuestMemory)?;
    let since_event = used.wrapping_sub(u16::from_le(event)).wrapping_sub(1);
    Ok(since_event < used.wrapping_sub(told))
}
