//! A guest driver with one queue, for tests: lays out chains, kicks a device, reads what came back.

use std::cell::Cell;

use virtio_bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use virtio_queue::desc::{RawDescriptor, split::Descriptor};
use virtio_queue::mock::MockSplitQueue;
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::device::{DeviceError, Event, Interrupt, Progress, Queues, VirtioDevice};

/// Size of the mock guest's memory.
pub(crate) const MEMORY_BYTES: usize = 16 * 1024 * 1024;

const QUEUE_SIZE: u16 = 256;

/// One descriptor of a chain: address and length.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Readable(u64, u32),
    Writable(u64, u32),
}

/// Counts the interrupts a device raises.
#[derive(Default)]
pub(crate) struct Counter(Cell<u32>);

impl Interrupt for Counter {
    fn signal_used(&self, _queue: u16) -> std::io::Result<()> {
        self.0.set(self.0.get() + 1);
        Ok(())
    }
}

/// Fresh guest memory.
pub(crate) fn memory() -> GuestMemoryMmap {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY_BYTES)]).unwrap()
}

pub(crate) struct MockGuest<'m> {
    pub(crate) memory: &'m GuestMemoryMmap,
    ring: MockSplitQueue<'m, GuestMemoryMmap>,
    queue: [Queue; 1],
    interrupt: Counter,
    next_descriptor: u16,
    seen_used: u16,
}

impl<'m> MockGuest<'m> {
    pub(crate) fn new(memory: &'m GuestMemoryMmap) -> Self {
        let ring = MockSplitQueue::new(memory, QUEUE_SIZE);
        let queue = [ring.create_queue().unwrap()];
        Self {
            memory,
            ring,
            queue,
            interrupt: Counter::default(),
            next_descriptor: 0,
            seen_used: 0,
        }
    }

    /// Makes one chain of these parts available.
    pub(crate) fn offer(&mut self, parts: &[Part]) {
        let last = parts.len() - 1;
        let descriptors: Vec<_> = parts
            .iter()
            .enumerate()
            .map(|(index, part)| {
                let (address, length, write) = match *part {
                    Part::Readable(address, length) => (address, length, 0),
                    Part::Writable(address, length) => (address, length, VRING_DESC_F_WRITE),
                };
                let next = self.next_descriptor + u16::try_from(index).unwrap() + 1;
                let flags = write | if index == last { 0 } else { VRING_DESC_F_NEXT };
                let flags = u16::try_from(flags).unwrap();
                RawDescriptor::from(Descriptor::new(address, length, flags, next))
            })
            .collect();
        self.offer_raw(&descriptors);
    }

    /// Makes these descriptors available as they are.
    pub(crate) fn offer_raw(&mut self, descriptors: &[RawDescriptor]) {
        self.ring
            .add_desc_chains(descriptors, self.next_descriptor)
            .unwrap();
        self.next_descriptor += u16::try_from(descriptors.len()).unwrap();
    }

    /// Notifies the device, and comes back for as long as it has more to do.
    pub(crate) fn kick(&mut self, device: &mut dyn VirtioDevice) -> Result<(), DeviceError> {
        while self.kick_once(device)? == Progress::More {}
        Ok(())
    }

    /// Notifies the device once.
    pub(crate) fn kick_once(
        &mut self,
        device: &mut dyn VirtioDevice,
    ) -> Result<Progress, DeviceError> {
        let mut queues = Queues::new(self.memory, &mut self.queue, &self.interrupt);
        device.handle(Event::Queue(0), &mut queues)
    }

    /// The written lengths of the chains used since the last call.
    pub(crate) fn used(&mut self) -> Vec<u32> {
        let end = u16::from_le(self.ring.used().idx().load());
        let lengths = (self.seen_used..end)
            .map(|index| {
                let slot = usize::from(index % QUEUE_SIZE);
                self.ring.used().ring().ref_at(slot).unwrap().load().len()
            })
            .collect();
        self.seen_used = end;
        lengths
    }

    pub(crate) fn interrupts(&self) -> u32 {
        self.interrupt.0.get()
    }

    /// Overwrites the index up to which the guest claims to have made chains available.
    pub(crate) fn claim_available(&mut self, index: u16) {
        self.ring.avail().idx().store(index.to_le());
    }

    pub(crate) fn queue(&mut self) -> &mut Queue {
        let [queue] = &mut self.queue;
        queue
    }

    pub(crate) fn use_event_index(&mut self) {
        self.queue().set_event_idx(true);
    }

    pub(crate) fn write(&self, address: u64, bytes: &[u8]) {
        self.memory
            .write_slice(bytes, GuestAddress(address))
            .unwrap();
    }

    pub(crate) fn read(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory
            .read_slice(&mut bytes, GuestAddress(address))
            .unwrap();
        bytes
    }
}
