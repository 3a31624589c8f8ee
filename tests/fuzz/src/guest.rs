//! A guest for the device targets: memory, rings, and every way to write nonsense into them.

use std::io;

use dhow_virtio::{DeviceError, Event, Interrupt, Progress, Queues, VirtioDevice};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const MEMORY_BYTES: usize = 4 << 20;

/// Where buffers begin; rings lie below.
const BUFFERS: u64 = 1 << 20;

/// A piece's address is a multiple of this above [`BUFFERS`]: the highest ones are outside memory.
const STRIDE: u64 = 64;

const RING_BYTES: u64 = 0x4000;
const RING_SIZE: u16 = 256;
const AVAILABLE_OFFSET: u64 = 0x2000;
const USED_OFFSET: u64 = 0x3000;

/// The most descriptors taken of one chain.
const MAX_PIECES: usize = 4;

/// Calls after which a device whose guest does nothing more must have come to rest: it takes at
/// least 16 chains a call off a ring of 256, twice where it looks at them again.
const MAX_CALLS: usize = 64;

const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// One descriptor.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Piece {
    /// Where, in units of 64 bytes.
    pub place: u16,
    /// How long.
    pub length: u32,
    /// Whether the device may write to it.
    pub writable: bool,
}

/// What a guest may do besides what is particular to a device.
#[derive(Arbitrary, Debug)]
pub enum Mischief {
    /// Offer a chain.
    Offer { queue: u8, pieces: Vec<Piece> },
    /// Write what it likes into its rings.
    Poke { place: u16, value: u64 },
    /// Claim more or fewer chains than there are.
    Claim { queue: u8, index: u16 },
    /// Notify a queue.
    Kick { queue: u8 },
    /// Reset the device and start over.
    Reset,
}

struct Silence;

impl Interrupt for Silence {
    fn signal_used(&self, _queue: u16) -> io::Result<()> {
        Ok(())
    }
}

/// A guest with its rings set up.
pub struct Guest {
    memory: GuestMemoryMmap,
    queues: Vec<Queue>,
    available: Vec<u16>,
    next_descriptor: u16,
}

impl Guest {
    /// A guest with so many rings of 256.
    pub fn new(rings: usize) -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY_BYTES)])
            .expect("memory can be mapped");
        Self {
            memory,
            queues: (0..rings).map(queue).collect(),
            available: vec![0; rings],
            next_descriptor: 0,
        }
    }

    /// Writes to a buffer, as far as it lies inside memory.
    pub fn write(&self, place: u16, bytes: &[u8]) {
        let _ = self.memory.write(bytes, address(place));
    }

    /// Offers a chain of at most four descriptors.
    pub fn offer(&mut self, queue: u8, pieces: &[Piece]) {
        let ring = usize::from(queue) % self.queues.len();
        let pieces = &pieces[..pieces.len().min(MAX_PIECES)];
        let head = self.next_descriptor;
        for (index, piece) in pieces.iter().enumerate() {
            let slot = self.next_descriptor;
            self.next_descriptor = (slot + 1) % RING_SIZE;
            let more = index + 1 < pieces.len();
            let write = if piece.writable { WRITE } else { 0 };
            let flags = write | if more { NEXT } else { 0 };
            let at = table(ring) + 16 * u64::from(slot);
            self.put(at, address(piece.place).0);
            self.put(at + 8, piece.length);
            self.put(at + 12, flags);
            self.put(at + 14, self.next_descriptor);
        }
        let count = self.available[ring];
        let slot = u64::from(count % RING_SIZE);
        self.put(table(ring) + AVAILABLE_OFFSET + 4 + 2 * slot, head);
        self.claim(queue, count.wrapping_add(1));
    }

    fn claim(&mut self, queue: u8, index: u16) {
        let ring = usize::from(queue) % self.queues.len();
        self.available[ring] = index;
        self.put(table(ring) + AVAILABLE_OFFSET + 2, index);
    }

    /// Does what every device must withstand.
    pub fn act(&mut self, device: &mut dyn VirtioDevice, mischief: &Mischief) {
        match mischief {
            Mischief::Offer { queue, pieces } => self.offer(*queue, pieces),
            Mischief::Poke { place, value } => self.put(u64::from(*place), *value),
            Mischief::Claim { queue, index } => self.claim(*queue, *index),
            Mischief::Kick { queue } => {
                let index = u16::from(*queue) % u16::try_from(self.queues.len()).unwrap_or(1);
                self.handle(device, Event::Queue(index));
            }
            Mischief::Reset => self.reset(device),
        }
    }

    /// Calls the device until it has nothing more to do; resets it where it breaks.
    pub fn handle(&mut self, device: &mut dyn VirtioDevice, event: Event) {
        for _ in 0..MAX_CALLS {
            match self.call(device, event) {
                Ok(Progress::Idle) => return,
                Ok(Progress::More) => {}
                Err(_) => return self.reset(device),
            }
        }
        panic!("the device never comes to rest");
    }

    fn call(
        &mut self,
        device: &mut dyn VirtioDevice,
        event: Event,
    ) -> Result<Progress, DeviceError> {
        let mut queues = Queues::new(&self.memory, &mut self.queues, &Silence);
        device.handle(event, &mut queues)
    }

    /// The guest's driver starts over.
    fn reset(&mut self, device: &mut dyn VirtioDevice) {
        device.reset();
        for ring in 0..self.queues.len() {
            self.put(table(ring) + AVAILABLE_OFFSET, 0_u32);
            self.put(table(ring) + USED_OFFSET, 0_u32);
            self.queues[ring] = queue(ring);
            self.available[ring] = 0;
        }
        device.activate(device.features());
    }

    fn put<T: vm_memory::ByteValued>(&self, at: u64, value: T) {
        self.memory
            .write_obj(value, GuestAddress(at))
            .expect("rings lie inside memory");
    }
}

fn table(ring: usize) -> u64 {
    RING_BYTES * (ring as u64 + 1)
}

fn address(place: u16) -> GuestAddress {
    GuestAddress(BUFFERS + u64::from(place) * STRIDE)
}

fn queue(ring: usize) -> Queue {
    let low = |address: u64| Some(u32::try_from(address).expect("low memory"));
    let mut queue = Queue::new(RING_SIZE).expect("a power of two");
    queue.set_desc_table_address(low(table(ring)), Some(0));
    queue.set_avail_ring_address(low(table(ring) + AVAILABLE_OFFSET), Some(0));
    queue.set_used_ring_address(low(table(ring) + USED_OFFSET), Some(0));
    queue.set_event_idx(true);
    queue.set_ready(true);
    queue
}
