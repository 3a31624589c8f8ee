//! Frames for the guest: written across buffers of the receive queue.
//!
//! A frame is taken from the link first and then given as many buffers as it needs. Where the guest
//! has too few the frame stays in hand, the buffers go back, and the guest is asked to say when it
//! adds some: an index behind those it has now, or it would stay silent.

use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::GuestMemoryMmap;

use super::{Net, NetFault, RECEIVE_QUEUE};
use crate::device::{DeviceError, Progress, Queues};
use crate::ring::{next_chain, publish};
use crate::span::{Chain, MAX_SEGMENTS};

/// Buffers looked at in one call. Four rings full: enough for any frame, and at 4 KiB each for
/// 4 MiB of them.
const MAX_BUFFERS_PER_CALL: usize = 1024;

/// Buffers taken off the ring for the frame in hand.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    chain: Chain,
    /// Head and room of each.
    buffers: Vec<(u16, u32)>,
    /// Bytes they hold together.
    room: usize,
}

/// Whether the frame in hand can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// What was gathered holds it.
    Enough,
    /// The guest must add buffers first.
    Short,
    /// The guest has offered all it can, and it does not suffice.
    Never,
    /// The call has done its share.
    Later,
}

fn broken(source: virtio_queue::Error) -> DeviceError {
    DeviceError::Queue {
        queue: RECEIVE_QUEUE,
        source,
    }
}

impl Net {
    /// Writes frames until the link has none, the guest has no buffers, or the call has done its
    /// share.
    pub(super) fn fill_receive_queue(
        &mut self,
        queues: &mut Queues<'_>,
    ) -> Result<Progress, DeviceError> {
        let Some((memory, queue)) = queues.get(RECEIVE_QUEUE) else {
            return Ok(Progress::Idle);
        };
        let told = queue.next_used();
        let mut left = MAX_BUFFERS_PER_CALL;
        let progress = loop {
            let Some(length) = self.take_in_hand() else {
                break Progress::Idle;
            };
            match self.find_room(memory, queue, length, &mut left)? {
                Room::Enough => self.write_frame(memory, queue, length)?,
                Room::Short => break Progress::Idle,
                Room::Never => {
                    self.faults.note(&NetFault::NoBufferFits);
                    self.in_hand = None;
                }
                Room::Later => break Progress::More,
            }
        };
        queues.notify_since(RECEIVE_QUEUE, told)?;
        Ok(progress)
    }

    /// The length of the frame in hand, which is the link's next one unless there is one already.
    fn take_in_hand(&mut self) -> Option<usize> {
        if self.in_hand.is_none() {
            let length = self.link.transmit(&mut self.incoming)?;
            // The link's promise, without which a slice would panic.
            self.in_hand = Some(length.min(self.incoming.len()));
        }
        self.in_hand
    }

    /// Gathers buffers for a frame of `length` bytes. Where there is not enough room, the guest has
    /// them all back, and tells us of more if that is what it takes.
    fn find_room(
        &mut self,
        memory: &GuestMemoryMmap,
        queue: &mut Queue,
        length: usize,
        left: &mut usize,
    ) -> Result<Room, DeviceError> {
        let wanted = self.headers.length() + length;
        let mut fruitless = false;
        queue.disable_notification(memory).map_err(broken)?;
        self.gathered.clear();
        loop {
            let before = *left;
            let room = self.gather(memory, queue, wanted, left)?;
            if room == Room::Enough {
                return Ok(room);
            }
            // With everything taken, so that it is what comes next that the guest tells us of.
            if room == Room::Short && queue.enable_notification(memory).map_err(broken)? {
                if *left == before && fruitless {
                    // The index says more but nothing can be taken: the ring is not readable.
                    return Err(broken(virtio_queue::Error::InvalidAvailRingIndex));
                }
                fruitless = *left == before;
                continue;
            }
            for _ in self.gathered.buffers.drain(..) {
                queue.go_to_previous_position();
            }
            return Ok(room);
        }
    }

    /// Takes buffers off the ring until they hold `wanted` bytes.
    fn gather(
        &mut self,
        memory: &GuestMemoryMmap,
        queue: &mut Queue,
        wanted: usize,
        left: &mut usize,
    ) -> Result<Room, DeviceError> {
        let gathered = &mut self.gathered;
        while gathered.room < wanted {
            if gathered.is_all_there_can_be(queue) {
                return Ok(Room::Never);
            }
            if *left == 0 {
                return Ok(Room::Later);
            }
            let Some(chain) = next_chain(queue, memory).map_err(broken)? else {
                return Ok(Room::Short);
            };
            *left -= 1;
            let head = chain.head_index();
            let room = gathered.chain.add_writable(memory, chain).unwrap_or(0);
            gathered.buffers.push((head, room));
            // Virtio 1.2, section 5.1.6.3.1: each holds a header at the least.
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            if room < self.headers.length() {
                self.faults.note(&NetFault::UselessBuffer);
                gathered.refuse(memory, queue)?;
                continue;
            }
            gathered.room += room;
            if !self.headers.mergeable() && gathered.room < wanted {
                return Ok(Room::Never);
            }
        }
        Ok(Room::Enough)
    }

    /// Writes the frame in hand into the buffers gathered for it.
    fn write_frame(
        &mut self,
        memory: &GuestMemoryMmap,
        queue: &mut Queue,
        length: usize,
    ) -> Result<(), DeviceError> {
        const CHECKED: &str = "room and place were checked when the buffers were gathered";
        let gathered = &mut self.gathered;
        let count = u16::try_from(gathered.buffers.len()).expect("no more than MAX_SEGMENTS");
        let header = self.headers.to_guest(count);
        let header = &header[..self.headers.length()];
        let (_, mut target) = gathered.chain.spans(memory);
        target.write_bytes(header).expect(CHECKED);
        target.write_bytes(&self.incoming[..length]).expect(CHECKED);
        // The last one is not filled to its end.
        if let Some((_, room)) = gathered.buffers.last_mut() {
            let unused = u32::try_from(target.length()).unwrap_or(u32::MAX);
            *room -= unused.min(*room);
        }
        publish(queue, memory, &gathered.buffers).map_err(broken)?;
        gathered.clear();
        self.in_hand = None;
        Ok(())
    }
}

impl Gathered {
    fn clear(&mut self) {
        self.chain.clear();
        self.buffers.clear();
        self.room = 0;
    }

    /// Whether the guest cannot offer more for one frame: its ring is taken to the last entry, or
    /// in more pieces than an honest guest's ever is.
    fn is_all_there_can_be(&self, queue: &Queue) -> bool {
        self.buffers.len() >= usize::from(queue.size())
            || self.chain.writable_segments() >= MAX_SEGMENTS
    }

    /// Gives everything back unused: an unusable buffer lies among it, and those before it cannot
    /// go back on the ring without it.
    fn refuse(&mut self, memory: &GuestMemoryMmap, queue: &mut Queue) -> Result<(), DeviceError> {
        for (_, room) in &mut self.buffers {
            *room = 0;
        }
        publish(queue, memory, &self.buffers).map_err(broken)?;
        self.clear();
        Ok(())
    }
}
