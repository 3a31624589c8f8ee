//! A guest's vsock stack in small: it really drives the rings, keeps sockets the way Linux 6.12
//! does, and is stricter than Linux where a device may err.

use std::collections::{HashMap, HashSet, VecDeque};

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::super::packet::{
    HEADER_BYTES, HOST_CID, Header, Operation, SHUTDOWN_BOTH, SHUTDOWN_SEND, TYPE_STREAM,
};
use crate::mock_ring::{NEXT, Ring, WRITE};

pub(super) const CID: u64 = 42;

/// Linux's default socket buffer.
pub(super) const BUFFER_BYTES: u32 = 256 * 1024;

/// What Linux counts for a queued packet on x86-64 (`SKB_TRUESIZE(0)`).
const PACKET_OVERHEAD: u32 = 576;

/// The most Linux puts in one packet.
const MAX_PAYLOAD: usize = 64 * 1024;

/// Linux's receive buffer: 4 KiB less the kernel's own overhead.
pub(super) const RX_BUFFER_BYTES: u32 = 4096 - 320;

pub(super) const RX_BUFFERS: u64 = 0x10_0000;
const TX_BUFFERS: u64 = 0x30_0000;
const TX_SLOT_BYTES: u64 = 0x1_1000;
const TX_SLOTS: u16 = 128;
pub(super) const MEMORY_BYTES: usize = 16 << 20;
/// Free for hostile tests.
pub(super) const SCRATCH: u64 = 0xf0_0000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Connecting,
    Open,
    Refused,
    Closed,
    Reset,
}

/// One socket of the guest.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) state: State,
    pub(super) guest_port: u32,
    pub(super) host_port: u32,
    /// Packets not read to their end: what is left, and how long they were.
    queue: VecDeque<(Vec<u8>, usize)>,
    pub(super) buffer_bytes: u32,
    queued_bytes: u32,
    forwarded: u32,
    announced: u32,
    sent: u32,
    pub(super) peer_buffer: u32,
    peer_forwarded: u32,
    pub(super) peer_shutdown: u32,
    shutdown: u32,
    pub(super) most_packets_queued: usize,
    /// The device sent more than it may.
    pub(super) overrun: bool,
}

/// The guest.
pub(super) struct Guest {
    memory: GuestMemoryMmap,
    pub(super) rx: Ring,
    pub(super) tx: Ring,
    rx_offered: u16,
    rx_free: Vec<u16>,
    tx_free: Vec<u16>,
    pending: VecDeque<(Header, Vec<u8>)>,
    pub(super) sockets: Vec<Socket>,
    lookup: HashMap<(u32, u32), usize>,
    listening: HashSet<u32>,
    accepted: VecDeque<usize>,
    pub(super) received: Vec<Header>,
    pub(super) record_headers: bool,
    next_port: u32,
    /// Receive buffers are offered by [`Self::fill`] alone.
    pub(super) withhold: bool,
    /// Packets are taken and forgotten: for tests that send what no stack would.
    pub(super) lenient: bool,
}

impl Guest {
    pub(super) fn new(memory: &GuestMemoryMmap) -> Self {
        Self {
            memory: memory.clone(),
            rx: Ring::new(memory, 0, 256),
            tx: Ring::new(memory, 1, 256),
            rx_offered: 0,
            rx_free: (0..256).collect(),
            tx_free: (0..TX_SLOTS).collect(),
            pending: VecDeque::new(),
            sockets: Vec::new(),
            lookup: HashMap::new(),
            listening: HashSet::new(),
            accepted: VecDeque::new(),
            received: Vec::new(),
            record_headers: false,
            next_port: 1 << 20,
            withhold: false,
            lenient: false,
        }
    }

    /// Offers all free receive buffers.
    pub(super) fn fill(&mut self) {
        while let Some(index) = self.rx_free.pop() {
            let address = RX_BUFFERS + u64::from(index) * 4096;
            self.rx
                .describe(index, address, RX_BUFFER_BYTES, (WRITE, 0));
            self.rx.offer(index);
            self.rx_offered += 1;
        }
    }

    /// The interrupt handler.
    pub(super) fn interrupt(&mut self) {
        while let Some((head, length)) = self.rx.take_used() {
            self.rx_offered -= 1;
            let address = GuestAddress(RX_BUFFERS + u64::from(head) * 4096);
            let mut bytes = [0; HEADER_BYTES];
            self.memory.read_slice(&mut bytes, address).unwrap();
            let header = Header::parse(&bytes);
            assert_eq!(
                length as usize,
                HEADER_BYTES + header.length as usize,
                "used length"
            );
            let mut payload = vec![0; header.length as usize];
            let behind = GuestAddress(address.0 + HEADER_BYTES as u64);
            self.memory.read_slice(&mut payload, behind).unwrap();
            self.rx_free.push(head);
            self.take_packet(header, payload);
        }
        self.rx.enable_interrupts();
        while let Some((head, _)) = self.tx.take_used() {
            self.tx_free.push(head / 2);
        }
        self.tx.enable_interrupts();
        if self.rx_offered < 128 && !self.withhold {
            self.fill();
        }
        self.flush();
    }

    pub(super) fn listen(&mut self, port: u32) {
        self.listening.insert(port);
    }

    pub(super) fn accept(&mut self) -> Option<usize> {
        self.accepted.pop_front()
    }

    pub(super) fn connect(&mut self, host_port: u32) -> usize {
        self.next_port += 1;
        let id = self.add(self.next_port, host_port, State::Connecting);
        self.control(id, Operation::Request, 0);
        id
    }

    fn add(&mut self, guest_port: u32, host_port: u32, state: State) -> usize {
        self.sockets.push(Socket {
            state,
            guest_port,
            host_port,
            queue: VecDeque::new(),
            buffer_bytes: BUFFER_BYTES,
            queued_bytes: 0,
            forwarded: 0,
            announced: 0,
            sent: 0,
            peer_buffer: 0,
            peer_forwarded: 0,
            peer_shutdown: 0,
            shutdown: 0,
            most_packets_queued: 0,
            overrun: false,
        });
        let id = self.sockets.len() - 1;
        self.lookup.insert((guest_port, host_port), id);
        id
    }

    /// Packets sent and not given back.
    pub(super) fn tx_in_flight(&self) -> usize {
        usize::from(TX_SLOTS) - self.tx_free.len()
    }

    /// Sends what credit allows, and says how much that was.
    pub(super) fn send(&mut self, id: usize, bytes: &[u8]) -> usize {
        let socket = &mut self.sockets[id];
        assert_eq!(socket.state, State::Open);
        if !self.pending.is_empty() {
            return 0;
        }
        let space = socket
            .peer_buffer
            .min(socket.buffer_bytes)
            .saturating_sub(socket.sent.wrapping_sub(socket.peer_forwarded));
        let count = bytes.len().min(space as usize);
        socket.sent = socket.sent.wrapping_add(u32::try_from(count).unwrap());
        for piece in bytes[..count].chunks(MAX_PAYLOAD) {
            self.packet(id, Operation::ReadWrite, 0, piece);
        }
        count
    }

    /// Reads what is there, at most `limit` bytes.
    pub(super) fn receive(&mut self, id: usize, limit: usize) -> Vec<u8> {
        let socket = &mut self.sockets[id];
        let mut bytes = Vec::new();
        while bytes.len() < limit {
            let Some((rest, length)) = socket.queue.front_mut() else {
                break;
            };
            let count = rest.len().min(limit - bytes.len());
            bytes.extend(rest.drain(..count));
            if rest.is_empty() {
                let length = u32::try_from(*length).unwrap();
                socket.queue.pop_front();
                socket.queued_bytes -= length;
                socket.forwarded = socket.forwarded.wrapping_add(length);
            }
        }
        self.update_credit(id);
        bytes
    }

    /// Whether the stream from the host has ended.
    pub(super) fn at_end(&self, id: usize) -> bool {
        let socket = &self.sockets[id];
        socket.queue.is_empty()
            && (socket.peer_shutdown & SHUTDOWN_SEND != 0 || socket.state != State::Open)
    }

    pub(super) fn shutdown(&mut self, id: usize, flags: u32) {
        self.sockets[id].shutdown |= flags;
        self.control(id, Operation::Shutdown, flags);
    }

    pub(super) fn close(&mut self, id: usize) {
        let socket = &self.sockets[id];
        if socket.state != State::Open {
            return;
        }
        if socket.peer_shutdown == SHUTDOWN_BOTH {
            self.reset(id);
        } else {
            self.shutdown(id, SHUTDOWN_BOTH);
        }
    }

    pub(super) fn reset(&mut self, id: usize) {
        self.control(id, Operation::Reset, 0);
        self.end(id, State::Closed);
    }

    pub(super) fn control(&mut self, id: usize, operation: Operation, flags: u32) {
        self.packet(id, operation, flags, &[]);
    }

    pub(super) fn packet(&mut self, id: usize, operation: Operation, flags: u32, payload: &[u8]) {
        let header = self.header(id, operation, flags, payload.len());
        self.raw(header, payload);
    }

    pub(super) fn header(
        &mut self,
        id: usize,
        operation: Operation,
        flags: u32,
        length: usize,
    ) -> Header {
        let socket = &mut self.sockets[id];
        socket.announced = socket.forwarded;
        Header {
            source_cid: CID,
            destination_cid: HOST_CID,
            source_port: socket.guest_port,
            destination_port: socket.host_port,
            length: u32::try_from(length).unwrap(),
            socket_type: TYPE_STREAM,
            operation: operation as u16,
            flags,
            buffer_bytes: socket.buffer_bytes,
            forwarded: socket.forwarded,
        }
    }

    /// Sends a packet as it is.
    pub(super) fn raw(&mut self, header: Header, payload: &[u8]) {
        self.pending.push_back((header, payload.to_vec()));
        self.flush();
    }

    fn flush(&mut self) {
        while !self.pending.is_empty() {
            let Some(slot) = self.tx_free.pop() else {
                return;
            };
            let (header, payload) = self.pending.pop_front().unwrap();
            let address = TX_BUFFERS + u64::from(slot) * TX_SLOT_BYTES;
            let memory = &self.memory;
            memory
                .write_slice(&header.encode(), GuestAddress(address))
                .unwrap();
            memory
                .write_slice(&payload, GuestAddress(address + 64))
                .unwrap();
            let head = slot * 2;
            let length = u32::try_from(payload.len()).unwrap();
            let link = if payload.is_empty() {
                (0, 0)
            } else {
                (NEXT, head + 1)
            };
            self.tx.describe(head, address, 44, link);
            self.tx.describe(head + 1, address + 64, length, (0, 0));
            self.tx.offer(head);
        }
    }

    fn end(&mut self, id: usize, state: State) {
        let socket = &mut self.sockets[id];
        socket.state = state;
        self.lookup.remove(&(socket.guest_port, socket.host_port));
    }

    fn update_credit(&mut self, id: usize) {
        let socket = &self.sockets[id];
        let delta = socket.forwarded.wrapping_sub(socket.announced);
        let low = socket.queue.is_empty();
        let free = socket.buffer_bytes.saturating_sub(delta);
        if delta > 0 && (free < 64 * 1024 || low) && socket.state == State::Open {
            self.control(id, Operation::CreditUpdate, 0);
        }
    }

    fn take_packet(&mut self, header: Header, payload: Vec<u8>) {
        assert_eq!(header.source_cid, HOST_CID);
        assert_eq!(header.destination_cid, CID);
        if self.record_headers {
            self.received.push(header);
        }
        if self.lenient {
            return;
        }
        let (guest_port, host_port) = (header.destination_port, header.source_port);
        let operation = header.operation().expect("the device sends known packets");
        if operation == Operation::Request {
            if !self.listening.contains(&guest_port) {
                return self.refuse(&header);
            }
            let id = self.add(guest_port, host_port, State::Open);
            self.accepted.push_back(id);
        }
        let Some(&id) = self.lookup.get(&(guest_port, host_port)) else {
            if operation != Operation::Reset {
                self.refuse(&header);
            }
            return;
        };
        let socket = &mut self.sockets[id];
        socket.peer_buffer = header.buffer_bytes;
        socket.peer_forwarded = header.forwarded;
        match operation {
            Operation::Request => self.control(id, Operation::Response, 0),
            Operation::Response => {
                assert_eq!(socket.state, State::Connecting);
                socket.state = State::Open;
            }
            Operation::Reset if socket.state == State::Connecting => self.end(id, State::Refused),
            Operation::Reset if socket.shutdown == SHUTDOWN_BOTH => self.end(id, State::Closed),
            Operation::Reset => self.end(id, State::Reset),
            Operation::CreditUpdate => {}
            Operation::CreditRequest => self.control(id, Operation::CreditUpdate, 0),
            Operation::ReadWrite => self.enqueue(id, header.length, payload),
            Operation::Shutdown => {
                socket.peer_shutdown |= header.flags;
                if socket.peer_shutdown == SHUTDOWN_BOTH && socket.queue.is_empty() {
                    self.reset(id);
                }
            }
        }
    }

    fn enqueue(&mut self, id: usize, length: u32, payload: Vec<u8>) {
        let socket = &mut self.sockets[id];
        assert_eq!(socket.state, State::Open, "payload before the response");
        assert!(length > 0, "an empty packet is a wasted buffer");
        let packets = u32::try_from(socket.queue.len()).unwrap() + 1;
        if socket.queued_bytes + length > socket.buffer_bytes
            || packets * PACKET_OVERHEAD > socket.buffer_bytes
        {
            socket.overrun = true;
            return self.reset(id);
        }
        socket.queued_bytes += length;
        socket.queue.push_back((payload, length as usize));
        socket.most_packets_queued = socket.most_packets_queued.max(socket.queue.len());
    }

    fn refuse(&mut self, header: &Header) {
        let reply = Header {
            source_cid: header.destination_cid,
            destination_cid: header.source_cid,
            source_port: header.destination_port,
            destination_port: header.source_port,
            socket_type: header.socket_type,
            operation: Operation::Reset as u16,
            ..Header::default()
        };
        self.raw(reply, &[]);
    }
}
