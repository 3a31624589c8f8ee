//! Packets from the guest: taken off the transmit queue, judged, and acted upon.

use std::time::Duration;

use virtio_queue::{DescriptorChain, QueueOwnedT, QueueT};
use vm_memory::{GuestMemoryMmap, VolatileSlice};

use super::connection::{CLOSE_TIMEOUT, Connection, Phase, STATUS_REFUSED, Verdict};
use super::guest_slices::{self, Direction, MAX_SLICES};
use super::host_events::Knock;
use super::local::{Kind, LINGER_TIMEOUT, Local, Remainder, close_cleanly};
use super::packet::{ANY_PORT, HEADER_BYTES, HOST_CID, Header, Operation, TYPE_STREAM};
use super::readiness::{Interest, Token};
use super::table::Ports;
use super::{MAX_RESETS, PendingReset, TRANSMIT_QUEUE, Vsock};
use crate::device::{DeviceError, Progress, Queues};

/// Packets taken in one call: a ring full. A guest that refills its ring as fast as we drain it
/// must not keep the other devices of the thread waiting.
const MAX_PACKETS_PER_CALL: usize = 256;

/// Packets the guest may wait to get back, as a part of the ring.
///
/// Linux asks for an interrupt whenever we are done with a packet, and only frees memory then. For
/// a guest under User Mode Linux that costs more than the packet did, so we tell it together with
/// the next packet *to* it, or when this part of the ring is done, or after
/// [`COMPLETION_DELAY`]. A full ring is always more than this part.
const COMPLETION_PART: u16 = 4;

/// Bytes of packets the guest may wait to get back: half of what one connection may send.
///
/// A large packet may take 18 descriptors of a guest that does without indirect ones: the ring must
/// not be full of packets it is not told of.
const COMPLETION_BYTES: usize = 128 * 1024;

/// How long the guest waits at most to get its packets back.
const COMPLETION_DELAY: Duration = Duration::from_millis(20);

/// Wraps a ring failure of the transmit queue.
fn broken(source: virtio_queue::Error) -> DeviceError {
    DeviceError::Queue {
        queue: TRANSMIT_QUEUE,
        source,
    }
}

impl Vsock {
    /// Takes packets until the queue is empty or the call has done its share.
    pub(super) fn drain_transmit_queue(
        &mut self,
        queues: &mut Queues<'_>,
    ) -> Result<Progress, DeviceError> {
        let Some((memory, queue)) = queues.get(TRANSMIT_QUEUE) else {
            return Ok(Progress::Idle);
        };
        let mut slices = Vec::with_capacity(MAX_SLICES);
        let mut left = MAX_PACKETS_PER_CALL;
        let mut fruitless = false;
        let progress = loop {
            queue.disable_notification(memory).map_err(broken)?;
            let before = left;
            while left > 0 {
                let Some(chain) = queue.iter(memory).map_err(broken)?.next() else {
                    break;
                };
                let head = chain.head_index();
                slices.clear();
                self.take_chain(memory, chain, &mut slices);
                queue.add_used(memory, head, 0).map_err(broken)?;
                left -= 1;
            }
            if left == 0 {
                break Progress::More;
            }
            if !queue.enable_notification(memory).map_err(broken)? {
                break Progress::Idle;
            }
            if left == before && fruitless {
                // The index said more, yet nothing could be taken: the ring is not readable. Once
                // is no proof, for the guest may have added a packet after we looked.
                return Err(broken(virtio_queue::Error::InvalidAvailRingIndex));
            }
            fruitless = left == before;
        };
        let bound = usize::from(queue.size() / COMPLETION_PART);
        self.completions.waiting += MAX_PACKETS_PER_CALL - left;
        if self.completions.waiting > bound || self.completions.bytes > COMPLETION_BYTES {
            self.signal_completions(queues)?;
        } else if self.completions.waiting > 0 && self.completions.deadline.is_none() {
            let deadline = &mut self.completions.deadline;
            let token = Token::Completions;
            self.deadlines.set(deadline, token, COMPLETION_DELAY);
        }
        Ok(progress)
    }

    /// Tells the guest of the packets we are done with, if there are any it was not told of.
    pub(super) fn signal_completions(
        &mut self,
        queues: &mut Queues<'_>,
    ) -> Result<(), DeviceError> {
        if self.completions.waiting == 0 {
            return Ok(());
        }
        self.completions.waiting = 0;
        self.completions.bytes = 0;
        let deadline = &mut self.completions.deadline;
        self.deadlines.clear(deadline, Token::Completions);
        queues.notify(TRANSMIT_QUEUE)
    }

    /// Reads one buffer's header, once, and acts on the packet if it is whole.
    fn take_chain<'m>(
        &mut self,
        memory: &'m GuestMemoryMmap,
        chain: DescriptorChain<&'m GuestMemoryMmap>,
        slices: &mut Vec<VolatileSlice<'m>>,
    ) {
        let gathered =
            guest_slices::gather(memory, chain, Direction::FromGuest, MAX_SLICES, slices);
        if gathered.is_err() {
            return self.counters.bad_buffer("packet outside guest memory");
        }
        self.completions.bytes += guest_slices::total(slices);
        let mut bytes = [0; HEADER_BYTES];
        let Ok(payload) = guest_slices::take_front(slices, &mut bytes) else {
            return self.counters.bad_buffer("packet shorter than its header");
        };
        let header = Header::parse(&bytes);
        if header.source_cid != self.guest_cid.number() || header.destination_cid != HOST_CID {
            return self.counters.bad_packet("packet with a foreign address");
        }
        let ports = Ports {
            host: header.destination_port,
            guest: header.source_port,
        };
        if header.socket_type != TYPE_STREAM {
            self.counters.bad_packet("packet of a socket type unknown");
            if header.operation() != Some(Operation::Reset) {
                self.owe_reset(ports, header.socket_type);
            }
            return;
        }
        match payload_of(payload, header.length) {
            Some(count) => self.take_packet(&header, ports, &payload[..count]),
            None => self.give_verdict(ports, Verdict::Abort("packet shorter than it says")),
        }
    }

    /// Acts on a packet whose addresses and length are right.
    fn take_packet(&mut self, header: &Header, ports: Ports, payload: &[VolatileSlice<'_>]) {
        let operation = header.operation();
        if operation == Some(Operation::Request) {
            return self.take_request(header, ports);
        }
        let Some(connection) = self.table.get_mut(ports) else {
            if operation != Some(Operation::Reset) {
                self.owe_reset(ports, TYPE_STREAM);
            }
            return;
        };
        connection.take_credit(header);
        let verdict = match operation {
            Some(Operation::ReadWrite) => connection.deliver(payload, header.length),
            Some(Operation::Response) => connection.answered(),
            Some(Operation::Reset) => Verdict::Forget,
            Some(Operation::Shutdown) => connection.guest_shuts_down(header.flags),
            Some(Operation::CreditUpdate) => Verdict::Keep,
            Some(Operation::CreditRequest) => {
                connection.credit_requested();
                Verdict::Keep
            }
            Some(Operation::Request) | None => Verdict::Abort("packet with an operation unknown"),
        };
        self.give_verdict(ports, verdict);
    }

    /// The guest wants a connection to a port of the host.
    fn take_request(&mut self, header: &Header, ports: Ports) {
        if self.table.get_mut(ports).is_some() {
            let verdict = Verdict::Abort("request for a connection that exists");
            return self.give_verdict(ports, verdict);
        }
        let served = self.host_ports.contains_key(&ports.host);
        if !served || ports.guest == ANY_PORT || self.table.is_full() {
            let what = if served {
                "no room for a connection of the guest"
            } else {
                "request for a port not served"
            };
            self.counters.refused_request(what);
            return self.owe_reset(ports, TYPE_STREAM);
        }
        self.table.insert(ports, Connection::asked(header));
        match self.knock(ports) {
            Knock::Answered | Knock::Later => {}
            Knock::Refused => {
                self.counters.refused_request("host service not there");
                self.table.remove(ports);
                self.owe_reset(ports, TYPE_STREAM);
            }
        }
    }

    /// Does to a connection what a packet or an event called for, and sees to what follows from
    /// its new state: called after everything that touches a connection.
    pub(super) fn give_verdict(&mut self, ports: Ports, verdict: Verdict) {
        match verdict {
            Verdict::Keep => self.settle(ports),
            Verdict::Abort(what) => {
                self.counters.bad_packet(what);
                self.abort(ports);
            }
            Verdict::Break => self.abort(ports),
            Verdict::Finish => {
                self.part(ports, true);
                self.owe_reset(ports, TYPE_STREAM);
            }
            Verdict::Forget => self.part(ports, false),
        }
    }

    /// Resets a connection and closes the host's end at once.
    pub(super) fn abort(&mut self, ports: Ports) {
        self.take_out(ports);
        self.owe_reset(ports, TYPE_STREAM);
    }

    /// Takes a connection out of the table and tells a client still waiting that it was refused.
    fn take_out(&mut self, ports: Ports) -> Option<Connection> {
        let mut connection = self.table.remove(ports)?;
        let token = Token::Connection(ports);
        self.deadlines.clear(&mut connection.deadline, token);
        if connection.phase == Phase::Requested {
            self.counters.failed_dial();
            // Fails only where the client is gone and needs no telling.
            let _ = connection.tell_client(STATUS_REFUSED);
        }
        Some(connection)
    }

    /// The guest is done with a connection: what it sent before still goes to the host.
    fn part(&mut self, ports: Ports, cleanly: bool) {
        let Some(mut connection) = self.take_out(ports) else {
            return;
        };
        let Some(socket) = connection.socket.take() else {
            return;
        };
        let backlog = std::mem::take(&mut connection.backlog);
        if backlog.is_empty() {
            if cleanly {
                close_cleanly(&socket);
            }
            return;
        }
        let id = self.table.fresh_local_id();
        let token = Token::Local(id);
        let mut deadline = None;
        self.deadlines.set(&mut deadline, token, LINGER_TIMEOUT);
        let watched = self
            .readiness
            .rewatch(&socket, token, Interest::ReadAndWrite);
        if watched.is_ok() {
            let kind = Kind::Remainder(Remainder { socket, backlog });
            self.table.insert_local(id, Local { kind, deadline });
        } else {
            self.deadlines.clear(&mut deadline, token);
        }
    }

    /// Sees to what follows from a connection's state: what to watch, whether it is over, whether
    /// it has something to send.
    pub(super) fn settle(&mut self, ports: Ports) {
        let Some(connection) = self.table.get_mut(ports) else {
            return;
        };
        let token = Token::Connection(ports);
        let blocked = connection.is_blocked();
        if blocked != connection.watches_writes
            && let Some(socket) = &connection.socket
        {
            let interest = if blocked {
                Interest::ReadAndWrite
            } else {
                Interest::Read
            };
            connection.watches_writes = blocked;
            if self.readiness.rewatch(socket, token, interest).is_err() {
                return self.abort(ports);
            }
        }
        if connection.is_over() {
            drop(connection.close());
            let deadline = &mut connection.deadline;
            self.deadlines.set(deadline, token, CLOSE_TIMEOUT);
        } else if connection.phase == Phase::Open {
            self.deadlines.clear(&mut connection.deadline, token);
        }
        if connection.next_packet().is_some() {
            self.table.schedule(ports);
        }
    }

    /// Remembers to tell the guest that there is no such connection.
    pub(super) fn owe_reset(&mut self, ports: Ports, socket_type: u16) {
        if self.resets.len() >= MAX_RESETS {
            return self.counters.dropped_reset();
        }
        self.resets.push_back(PendingReset { ports, socket_type });
    }
}

/// How many of the slices behind a header hold its payload, cut to `length` bytes; `None` where
/// they hold less.
fn payload_of(slices: &mut [VolatileSlice<'_>], length: u32) -> Option<usize> {
    let mut left = usize::try_from(length).ok()?;
    for (index, slice) in slices.iter_mut().enumerate() {
        if left == 0 {
            return Some(index);
        }
        if slice.len() > left {
            *slice = slice.subslice(0, left).ok()?;
        }
        left -= slice.len();
    }
    (left == 0).then_some(slices.len())
}
