//! The loop every request-and-reply device shares: take each available chain, serve it, give it
//! back, and tell the guest once.
//!
//! Rule: the queue is looked at once more after notifications are switched on again. Without that
//! second look a buffer that arrives in between is never announced (`VIRTIO_F_EVENT_IDX`), and the
//! guest waits for ever.

use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::GuestMemoryMmap;

use crate::device::{DeviceError, Queues};

/// Ring features that [`drain`] and the chain reader honour.
pub(crate) const RING_FEATURES: u64 =
    (1 << VIRTIO_RING_F_INDIRECT_DESC) | (1 << VIRTIO_RING_F_EVENT_IDX);

/// Serves the chains of one queue until none is left, then signals used buffers once.
///
/// `serve` returns how many bytes it wrote into the chain's writable part. The loop ends because
/// `serve` is synchronous and the guest owns a finite ring; a guest that refills it as fast as it
/// is drained delays nobody's devices but its own.
pub(crate) fn drain(
    queues: &mut Queues<'_>,
    index: u16,
    mut serve: impl FnMut(&GuestMemoryMmap, DescriptorChain<&GuestMemoryMmap>) -> u32,
) -> Result<(), DeviceError> {
    let broken = |source| DeviceError::Queue {
        queue: index,
        source,
    };
    let Some((memory, queue)) = queues.get(index) else {
        return Ok(());
    };
    let mut served = false;
    loop {
        queue.disable_notification(memory).map_err(broken)?;
        while let Some(chain) = next_chain(queue, memory).map_err(broken)? {
            let head = chain.head_index();
            let written = serve(memory, chain);
            queue.add_used(memory, head, written).map_err(broken)?;
            served = true;
        }
        if !queue.enable_notification(memory).map_err(broken)? {
            break;
        }
    }
    if served {
        queues.notify(index)?;
    }
    Ok(())
}

/// The next available chain. Unlike `pop_descriptor_chain`, tells an empty ring from a broken one.
fn next_chain<'a>(
    queue: &mut Queue,
    memory: &'a GuestMemoryMmap,
) -> Result<Option<DescriptorChain<&'a GuestMemoryMmap>>, virtio_queue::Error> {
    Ok(queue.iter(memory)?.next())
}
