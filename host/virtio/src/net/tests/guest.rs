//! A guest's driver and a link in small, and the device between them.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard};

use nix::sys::eventfd::{EfdFlags, EventFd};
use virtio_queue::Queue;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::super::{Checksums, Link, Net, NetConfig};
use crate::device::{DeviceError, Event, Interrupt, Progress, Queues, VirtioDevice};
use crate::mock_ring::{NEXT, Ring, WRITE};

pub(super) const MAC: [u8; 6] = [2, 0x64, 0x68, 0x6f, 0x77, 1];
pub(super) const MTU: u16 = 65_520;
pub(super) const MAX_FRAME: usize = 65_538;
pub(super) const HEADER: usize = 12;
pub(super) const MEMORY_BYTES: usize = 64 << 20;

/// Where receive buffer *i* is: this plus *i* times [`STRIDE`].
const RX_BUFFERS: u64 = 1 << 20;
const STRIDE: u64 = 0x2_0000;
pub(super) const TX_BUFFER: u64 = 48 << 20;

/// What the link saw and has to send.
#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) received: Vec<Vec<u8>>,
    pub(super) waiting: VecDeque<Vec<u8>>,
    pub(super) agreed: Vec<Checksums>,
    pub(super) polls: usize,
    pub(super) resets: usize,
    pub(super) broken: bool,
}

struct Lists {
    wire: Arc<Mutex<Wire>>,
    ready: EventFd,
}

impl Link for Lists {
    fn host_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    fn agree(&mut self, checksums: Checksums) {
        self.wire.lock().unwrap().agreed.push(checksums);
    }

    fn receive(&mut self, frame: &[u8]) {
        self.wire.lock().unwrap().received.push(frame.to_vec());
    }

    fn poll(&mut self) -> io::Result<()> {
        let mut wire = self.wire.lock().unwrap();
        wire.polls += 1;
        if wire.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    fn transmit(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let frame = self.wire.lock().unwrap().waiting.pop_front()?;
        buffer[..frame.len()].copy_from_slice(&frame);
        Some(frame.len())
    }

    fn reset(&mut self) {
        let mut wire = self.wire.lock().unwrap();
        wire.resets += 1;
        wire.waiting.clear();
    }
}

/// Counts interrupts of each queue.
#[derive(Default)]
pub(super) struct Interrupts([Cell<u32>; 2]);

impl Interrupt for Interrupts {
    fn signal_used(&self, queue: u16) -> io::Result<()> {
        let counter = &self.0[usize::from(queue)];
        counter.set(counter.get() + 1);
        Ok(())
    }
}

/// A device whose driver is up.
pub(super) struct Machine {
    pub(super) memory: GuestMemoryMmap,
    pub(super) device: Net,
    pub(super) queues: Vec<Queue>,
    pub(super) rx: Ring,
    pub(super) tx: Ring,
    wire: Arc<Mutex<Wire>>,
    interrupts: Interrupts,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self::with_features(u64::MAX)
    }

    /// A driver that takes no other features than these, with rings of 256.
    pub(super) fn with_features(features: u64) -> Self {
        Self::with_ring_size(features, 256)
    }

    pub(super) fn with_ring_size(features: u64, size: u16) -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY_BYTES)]).unwrap();
        let wire = Arc::default();
        let link = Lists {
            wire: Arc::clone(&wire),
            ready: EventFd::from_flags(EfdFlags::EFD_CLOEXEC).unwrap(),
        };
        let mut device = Net::new(NetConfig { mac: MAC, mtu: MTU }, Box::new(link));
        device.activate(device.features() & features);
        let (rx, tx) = (Ring::new(&memory, 0, size), Ring::new(&memory, 1, size));
        Self {
            queues: vec![rx.queue(), tx.queue()],
            memory,
            device,
            rx,
            tx,
            wire,
            interrupts: Interrupts::default(),
        }
    }

    pub(super) fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap()
    }

    /// Frames that the link is to send.
    pub(super) fn send_to_guest(&self, frames: impl IntoIterator<Item = Vec<u8>>) {
        self.wire().waiting.extend(frames);
    }

    pub(super) fn interrupts(&self, queue: usize) -> u32 {
        self.interrupts.0[queue].get()
    }

    /// Calls the device once.
    pub(super) fn try_handle(&mut self, event: Event) -> Result<Progress, DeviceError> {
        let mut queues = Queues::new(&self.memory, &mut self.queues, &self.interrupts);
        self.device.handle(event, &mut queues)
    }

    /// Calls the device until it has nothing more to do.
    pub(super) fn handle(&mut self, event: Event) {
        while self.try_handle(event).unwrap() == Progress::More {}
    }

    /// Offers one receive buffer in a single piece.
    pub(super) fn offer_buffer(&mut self, index: u16, length: u32) {
        let address = buffer(index);
        self.rx.describe(index, address, length, (WRITE, 0));
        self.rx.offer(index);
    }

    /// What the device wrote into the buffers it gave back, and how much into each.
    pub(super) fn take_used(&mut self) -> (Vec<u8>, Vec<u32>) {
        let (mut bytes, mut lengths) = (Vec::new(), Vec::new());
        while let Some((head, length)) = self.rx.take_used() {
            bytes.extend(self.read(buffer(head), length as usize));
            lengths.push(length);
        }
        (bytes, lengths)
    }

    pub(super) fn read(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let address = GuestAddress(address);
        self.memory.read_slice(&mut bytes, address).unwrap();
        bytes
    }

    /// Offers a header and a frame on the transmit queue, cut into pieces of these lengths and one
    /// with the rest; `first` is the first descriptor it may use.
    pub(super) fn send(&mut self, first: u16, frame: &[u8], cuts: &[usize]) {
        let address = TX_BUFFER + u64::from(first) * STRIDE;
        let bytes = [&[0; HEADER], frame].concat();
        let memory = &self.memory;
        memory.write_slice(&bytes, GuestAddress(address)).unwrap();
        let mut start = 0;
        let mut index = first;
        for &cut in cuts {
            let length = u32::try_from(cut).unwrap();
            let link = (NEXT, index + 1);
            self.tx
                .describe(index, address + start as u64, length, link);
            start += cut;
            index += 1;
        }
        let rest = u32::try_from(bytes.len() - start).unwrap();
        self.tx
            .describe(index, address + start as u64, rest, (0, 0));
        self.tx.offer(first);
    }

    pub(super) fn faults(&self) -> u64 {
        self.device.faults.count()
    }
}

/// Where a receive buffer is.
pub(super) fn buffer(index: u16) -> u64 {
    RX_BUFFERS + u64::from(index) * STRIDE
}

/// A frame whose bytes differ everywhere near each other.
pub(super) fn frame(length: usize, seed: usize) -> Vec<u8> {
    (0..length)
        .map(|index| u8::try_from((index + seed) % 251).unwrap())
        .collect()
}
