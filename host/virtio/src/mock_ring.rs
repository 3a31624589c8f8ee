//! The driver's side of a split virtqueue, as a guest's kernel keeps it.

use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;

/// Guest memory set aside for one ring.
const RING_BYTES: u64 = 0x4000;

/// One virtqueue, seen from the guest.
pub(crate) struct Ring {
    memory: GuestMemoryMmap,
    pub(crate) size: u16,
    table: u64,
    avail: u64,
    used: u64,
    next_avail: u16,
    kicked: u16,
    last_used: u16,
}

impl Ring {
    pub(crate) fn new(memory: &GuestMemoryMmap, index: u16, size: u16) -> Self {
        let table = RING_BYTES * (u64::from(index) + 1);
        Self {
            memory: memory.clone(),
            size,
            table,
            avail: table + 0x2000,
            used: table + 0x3000,
            next_avail: 0,
            kicked: 0,
            last_used: 0,
        }
    }

    /// The device's view of this ring.
    pub(crate) fn queue(&self) -> Queue {
        let low = |address: u64| Some(u32::try_from(address).unwrap());
        let mut queue = Queue::new(256).unwrap();
        queue.set_size(self.size);
        queue.set_desc_table_address(low(self.table), Some(0));
        queue.set_avail_ring_address(low(self.avail), Some(0));
        queue.set_used_ring_address(low(self.used), Some(0));
        queue.set_event_idx(true);
        queue.set_ready(true);
        assert!(queue.is_valid(&self.memory));
        queue
    }

    /// Writes one descriptor: address, length, flags and next.
    pub(crate) fn describe(&self, index: u16, address: u64, length: u32, link: (u16, u16)) {
        self.describe_at(self.table + 16 * u64::from(index), address, length, link);
    }

    pub(crate) fn describe_at(&self, at: u64, address: u64, length: u32, link: (u16, u16)) {
        self.write(at, address);
        self.write(at + 8, length);
        self.write(at + 12, link.0);
        self.write(at + 14, link.1);
    }

    /// Makes the chain that starts at `head` available.
    pub(crate) fn offer(&mut self, head: u16) {
        let slot = u64::from(self.next_avail % self.size);
        self.write(self.avail + 4 + 2 * slot, head);
        self.next_avail = self.next_avail.wrapping_add(1);
        self.write(self.avail + 2, self.next_avail);
    }

    /// Claims that so many more chains are available, without having written any.
    pub(crate) fn lie_about_index(&mut self, more: u16) {
        self.write(self.avail + 2, self.next_avail.wrapping_add(more));
    }

    /// Whether the device wants to be told of what was offered since the last question.
    pub(crate) fn needs_kick(&mut self) -> bool {
        let event = self.read(self.used + 4 + 8 * u64::from(self.size));
        let (old, new) = (self.kicked, self.next_avail);
        self.kicked = new;
        new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
    }

    /// The next chain the device is done with, and how much it wrote.
    pub(crate) fn take_used(&mut self) -> Option<(u16, u32)> {
        if self.read(self.used + 2) == self.last_used {
            return None;
        }
        let slot = self.used + 4 + 8 * u64::from(self.last_used % self.size);
        self.last_used = self.last_used.wrapping_add(1);
        let length = u32::from(self.read(slot + 4)) | u32::from(self.read(slot + 6)) << 16;
        Some((self.read(slot), length))
    }

    /// Asks for an interrupt at the next used chain.
    pub(crate) fn enable_interrupts(&mut self) {
        let used_event = self.avail + 4 + 2 * u64::from(self.size);
        self.write(used_event, self.last_used);
    }

    fn read(&self, address: u64) -> u16 {
        self.memory.read_obj(GuestAddress(address)).unwrap()
    }

    fn write<T: vm_memory::ByteValued>(&self, address: u64, value: T) {
        self.memory.write_obj(value, GuestAddress(address)).unwrap();
    }
}
