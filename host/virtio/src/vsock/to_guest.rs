//! Packets to the guest: one connection after the other fills buffers of the receive queue.
//!
//! Payload is read from the host's socket straight into guest buffers, as many at once as the last
//! reads could fill: one system call may make 32 packets. Buffers taken and not needed go back.

use std::ops::Range;

use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{GuestMemoryMmap, VolatileSlice};

use super::connection::{Connection, MAX_BATCH_BUFFERS, Outgoing, Reading, Verdict};
use super::guest_slices::{self, Direction, MAX_SLICES};
use super::packet::{HEADER_BYTES, HOST_CID, Header, Operation};
use super::table::Ports;
use super::{PendingReset, RECEIVE_QUEUE, Vsock};
use crate::device::{DeviceError, Progress, Queues};

/// Buffers filled in one call: a ring full, as for the other queue.
const MAX_BUFFERS_PER_CALL: usize = 256;

/// A buffer without room for a header and a byte is no use.
const MIN_BUFFER_BYTES: usize = HEADER_BYTES + 1;

/// Wraps a ring failure of the receive queue.
fn broken(source: virtio_queue::Error) -> DeviceError {
    DeviceError::Queue {
        queue: RECEIVE_QUEUE,
        source,
    }
}

/// The receive queue for the length of one call.
struct Ring<'m, 'q> {
    memory: &'m GuestMemoryMmap,
    queue: &'q mut Queue,
    /// Buffers this call may still fill.
    left: usize,
    batch: Batch<'m>,
}

/// Guest buffers taken off the ring but not used yet.
#[derive(Default)]
struct Batch<'m> {
    buffers: Vec<Buffer>,
    /// Where the headers go, one after the other.
    headers: Vec<VolatileSlice<'m>>,
    /// Where payload goes.
    payload: Vec<VolatileSlice<'m>>,
    scratch: Vec<VolatileSlice<'m>>,
}

/// One guest buffer of a [`Batch`].
struct Buffer {
    head: u16,
    /// Its slices among the headers.
    header: Range<usize>,
    /// Payload bytes it has room for.
    room: usize,
}

/// Whether a connection's turn used the ring.
enum Turn {
    /// It sent something, or found it had nothing to send.
    Taken(Verdict),
    /// There was no buffer.
    NoBuffer,
}

impl Vsock {
    /// Sends what waits until nothing does, buffers run out, or the call has done its share.
    pub(super) fn fill_receive_queue(
        &mut self,
        queues: &mut Queues<'_>,
    ) -> Result<Progress, DeviceError> {
        if !self.has_packets() {
            return Ok(Progress::Idle);
        }
        let Some((memory, queue)) = queues.get(RECEIVE_QUEUE) else {
            return Ok(Progress::Idle);
        };
        let mut ring = Ring {
            memory,
            queue,
            left: MAX_BUFFERS_PER_CALL,
            batch: Batch::default(),
        };
        let mut fruitless = false;
        let progress = loop {
            let before = ring.left;
            ring.queue.disable_notification(memory).map_err(broken)?;
            self.fill(&mut ring)?;
            if !self.has_packets() {
                break Progress::Idle;
            }
            if ring.left == 0 {
                break Progress::More;
            }
            if !ring.queue.enable_notification(memory).map_err(broken)? {
                break Progress::Idle;
            }
            if ring.left == before && fruitless {
                // The index says more but nothing can be taken: the ring is not readable.
                return Err(broken(virtio_queue::Error::InvalidAvailRingIndex));
            }
            fruitless = ring.left == before;
        };
        if ring.left < MAX_BUFFERS_PER_CALL {
            queues.notify(RECEIVE_QUEUE)?;
            // The guest wakes up anyway: what it sent comes back with the same interrupt.
            self.signal_completions(queues)?;
        }
        Ok(progress)
    }

    fn has_packets(&self) -> bool {
        !self.resets.is_empty() || self.table.has_ready()
    }

    /// Resets first, then each ready connection in turn, while there are buffers.
    fn fill(&mut self, ring: &mut Ring<'_, '_>) -> Result<(), DeviceError> {
        let cid = self.guest_cid.number();
        while ring.left > 0
            && let Some(reset) = self.resets.front()
        {
            if !ring.put_packet(&reset.header(cid), &mut self.counters)? {
                return Ok(());
            }
            self.resets.pop_front();
        }
        while ring.left > 0
            && let Some((ports, connection)) = self.table.next_ready()
        {
            match take_turn(connection, ports, cid, ring, &mut self.counters)? {
                Turn::Taken(verdict) => self.give_verdict(ports, verdict),
                Turn::NoBuffer => {
                    self.table.schedule(ports);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl PendingReset {
    fn header(&self, cid: u64) -> Header {
        Header {
            source_cid: HOST_CID,
            destination_cid: cid,
            source_port: self.ports.host,
            destination_port: self.ports.guest,
            socket_type: self.socket_type,
            operation: Operation::Reset as u16,
            ..Header::default()
        }
    }
}

/// Lets a connection send one control packet or one batch of payload.
fn take_turn(
    connection: &mut Connection,
    ports: Ports,
    cid: u64,
    ring: &mut Ring<'_, '_>,
    counters: &mut super::Counters,
) -> Result<Turn, DeviceError> {
    match connection.next_packet() {
        None => {}
        Some(Outgoing::Control { operation, flags }) => {
            let header = connection.header(cid, ports, (operation, flags));
            if !ring.put_packet(&header, counters)? {
                return Ok(Turn::NoBuffer);
            }
            connection.sent(operation, flags);
        }
        Some(Outgoing::Payload) => {
            let wanted = connection.batch.min(connection.send.packets());
            if !ring.take_batch(wanted, counters)? {
                return Ok(Turn::NoBuffer);
            }
            let limit = ring.batch.room().min(connection.send.bytes());
            let reading = connection.read(&ring.batch.payload, limit);
            let count = match reading {
                Reading::Bytes(count) => count,
                Reading::Nothing => 0,
                Reading::Broken => {
                    ring.give_back(0);
                    return Ok(Turn::Taken(Verdict::Break));
                }
            };
            connection.batch = if count == limit {
                (wanted * 2).min(MAX_BATCH_BUFFERS)
            } else {
                1
            };
            ring.send_batch(count, |length| {
                connection.send.spend(length);
                let header = connection.header(cid, ports, (Operation::ReadWrite, 0));
                connection.sent(Operation::ReadWrite, 0);
                Header { length, ..header }
            })?;
        }
    }
    Ok(Turn::Taken(Verdict::Keep))
}

impl<'m> Batch<'m> {
    fn clear(&mut self) {
        self.buffers.clear();
        self.headers.clear();
        self.payload.clear();
    }

    /// Payload bytes all buffers have room for.
    fn room(&self) -> usize {
        self.buffers.iter().map(|buffer| buffer.room).sum()
    }

    /// Adds the buffer whose slices are in `scratch`; `false`, and nothing added, where it is too
    /// small.
    fn add(&mut self, head: u16) -> bool {
        let bytes = guest_slices::total(&self.scratch);
        if bytes < MIN_BUFFER_BYTES {
            return false;
        }
        let first = self.headers.len();
        let mut missing = HEADER_BYTES;
        for slice in &self.scratch {
            let (header, payload) = slice
                .split_at(missing.min(slice.len()))
                .expect("the middle lies inside the slice");
            missing -= header.len();
            if !header.is_empty() {
                self.headers.push(header);
            }
            if !payload.is_empty() {
                self.payload.push(payload);
            }
        }
        self.buffers.push(Buffer {
            head,
            header: first..self.headers.len(),
            room: bytes - HEADER_BYTES,
        });
        true
    }
}

impl Ring<'_, '_> {
    /// Takes up to `wanted` usable buffers off the ring; `false` where there is none.
    fn take_batch(
        &mut self,
        wanted: usize,
        counters: &mut super::Counters,
    ) -> Result<bool, DeviceError> {
        self.batch.clear();
        while self.left > 0
            && let Some(bad) = self.gather_batch(wanted.min(self.left))?
        {
            counters.bad_buffer("buffer no packet fits in");
            self.queue.add_used(self.memory, bad, 0).map_err(broken)?;
            self.left -= 1;
        }
        Ok(!self.batch.buffers.is_empty())
    }

    /// Takes up to `wanted` buffers into the empty batch; one that is unusable and comes first is
    /// taken off the ring and returned in their place.
    fn gather_batch(&mut self, wanted: usize) -> Result<Option<u16>, DeviceError> {
        let mut available = self.queue.iter(self.memory).map_err(broken)?;
        while self.batch.buffers.len() < wanted
            && let Some(chain) = available.next()
        {
            let head = chain.head_index();
            let limit = MAX_SLICES - self.batch.payload.len();
            let scratch = &mut self.batch.scratch;
            scratch.clear();
            let direction = Direction::ToGuest;
            let gathered = guest_slices::gather(self.memory, chain, direction, limit, scratch);
            if gathered.is_ok() && self.batch.add(head) {
                continue;
            }
            if self.batch.buffers.is_empty() {
                return Ok(Some(head));
            }
            // Bad, or only too much for this batch: found out when it comes first.
            available.go_to_previous_position();
            break;
        }
        Ok(None)
    }

    /// Puts the batch's buffers from this one on back on the ring.
    fn give_back(&mut self, from: usize) {
        for _ in self.batch.buffers.drain(from..) {
            self.queue.go_to_previous_position();
        }
    }

    /// Heads the first `count` payload bytes of the batch, marks their buffers used, and puts the
    /// others back.
    fn send_batch(
        &mut self,
        count: usize,
        mut header: impl FnMut(u32) -> Header,
    ) -> Result<(), DeviceError> {
        let mut left = count;
        let mut used = 0;
        for buffer in &self.batch.buffers {
            let length = left.min(buffer.room);
            if length == 0 {
                break;
            }
            let bytes = u32::try_from(length).expect("a read is bounded by 32 bits of credit");
            let header = header(bytes).encode();
            let slices = &self.batch.headers[buffer.header.clone()];
            guest_slices::put(slices, &header).expect("the slices are as long as a header");
            let written = bytes.saturating_add(HEADER_BYTES_ON_RING);
            self.queue
                .add_used(self.memory, buffer.head, written)
                .map_err(broken)?;
            left -= length;
            used += 1;
        }
        self.left -= used;
        self.give_back(used);
        Ok(())
    }

    /// Sends a packet without payload; `false` where there is no buffer for it.
    fn put_packet(
        &mut self,
        header: &Header,
        counters: &mut super::Counters,
    ) -> Result<bool, DeviceError> {
        if !self.take_batch(1, counters)? {
            return Ok(false);
        }
        let buffer = &self.batch.buffers[0];
        let slices = &self.batch.headers[buffer.header.clone()];
        guest_slices::put(slices, &header.encode()).expect("the slices are as long as a header");
        self.queue
            .add_used(self.memory, buffer.head, HEADER_BYTES_ON_RING)
            .map_err(broken)?;
        self.left -= 1;
        Ok(true)
    }
}

/// A header's length as the used ring counts.
#[expect(clippy::cast_possible_truncation, reason = "44 fits any integer")]
const HEADER_BYTES_ON_RING: u32 = HEADER_BYTES as u32;
