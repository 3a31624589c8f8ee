//! What a guest may do to harm us, and what it gets: a reset, a count, never a panic.

use vm_memory::{Bytes, GuestAddress};

use super::super::credit::RECEIVE_BUFFER_BYTES;
use super::super::packet::{Header, Operation};
use super::guest::{MEMORY_BYTES, RX_BUFFERS, SCRATCH, State};
use super::machine::{Machine, read_some};
use crate::device::{DeviceError, Event};
use crate::mock_ring::{INDIRECT, NEXT, Ring, WRITE};

/// The head of the descriptors that hostile packets use; the guest's own stop far below.
const HEAD: u16 = 0;

/// Sends `packet` in descriptors of `piece` bytes each.
pub(super) fn send_scattered(machine: &mut Machine, packet: &[u8], piece: u16) {
    let memory = machine.memory.clone();
    memory.write_slice(packet, GuestAddress(SCRATCH)).unwrap();
    let count = packet.len().div_ceil(usize::from(piece));
    for index in 0..u16::try_from(count).unwrap() {
        let last = usize::from(index) + 1 == count;
        let offset = usize::from(index) * usize::from(piece);
        let length = packet.len().min(offset + usize::from(piece)) - offset;
        let link = if last { (0, 0) } else { (NEXT, index + 1) };
        let address = SCRATCH + offset as u64;
        let length = u32::try_from(length).unwrap();
        machine.guest.tx.describe(index, address, length, link);
    }
    machine.guest.tx.offer(HEAD);
    machine.handle(Event::Queue(1));
    // Not one of the guest's own packets: taken here so that it does not look for its slot.
    machine.guest.tx.take_used().unwrap();
}

/// A stream, and a header of payload for it that the guest may spoil.
fn stream_and_header(machine: &mut Machine, length: usize) -> (usize, Header) {
    let (_client, id) = machine.dialled(80);
    std::mem::forget(_client);
    let header = machine.guest.header(id, Operation::ReadWrite, 0, length);
    (id, header)
}

#[test]
fn more_payload_than_the_chain_holds_is_a_reset() {
    let mut machine = Machine::new();
    let (id, header) = stream_and_header(&mut machine, 100);

    machine.guest.raw(header, &[1; 99]);
    machine.run();

    assert_eq!(machine.guest.sockets[id].state, State::Reset);
    assert_eq!(machine.device.counters().bad_packets, 1);
}

#[test]
fn a_length_of_four_gibibytes_is_a_reset() {
    let mut machine = Machine::new();
    let (id, mut header) = stream_and_header(&mut machine, 0);
    header.length = u32::MAX;

    machine.guest.raw(header, &[1; 99]);
    machine.run();

    assert_eq!(machine.guest.sockets[id].state, State::Reset);
}

#[test]
fn bytes_behind_the_payload_are_ignored() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);
    let header = machine.guest.header(id, Operation::ReadWrite, 0, 3);

    machine.guest.raw(header, b"abcdef");
    machine.run();

    assert_eq!(read_some(&mut client, 100).unwrap(), b"abc");
}

#[test]
fn an_unknown_operation_is_a_reset() {
    let mut machine = Machine::new();
    let (id, mut header) = stream_and_header(&mut machine, 0);
    header.operation = 77;

    machine.guest.raw(header, &[]);
    machine.run();

    assert_eq!(machine.guest.sockets[id].state, State::Reset);
}

#[test]
fn foreign_addresses_are_dropped() {
    let mut machine = Machine::new();
    let (id, header) = stream_and_header(&mut machine, 1);

    let source_cid = 43;
    machine.guest.raw(
        Header {
            source_cid,
            ..header
        },
        b"x",
    );
    let destination_cid = 3;
    machine.guest.raw(
        Header {
            destination_cid,
            ..header
        },
        b"x",
    );
    machine.run();

    assert_eq!(machine.guest.sockets[id].state, State::Open);
    assert_eq!(machine.device.counters().bad_packets, 2);
}

#[test]
fn other_socket_types_are_reset_in_kind() {
    let mut machine = Machine::new();
    let (id, header) = stream_and_header(&mut machine, 0);
    machine.guest.record_headers = true;

    machine.guest.raw(
        Header {
            socket_type: 2,
            operation: Operation::Request as u16,
            source_port: 5,
            ..header
        },
        &[],
    );
    machine.run();

    let reply = machine.guest.received[0];
    assert_eq!(reply.socket_type, 2);
    assert_eq!(reply.operation(), Some(Operation::Reset));
    assert_eq!(reply.destination_port, 5);
    assert_eq!(machine.guest.sockets[id].state, State::Open);
}

#[test]
fn a_packet_shorter_than_its_header_is_dropped() {
    let mut machine = Machine::new();

    send_scattered(&mut machine, &[0; 43], 43);

    assert_eq!(machine.device.counters().bad_buffers, 1);
}

#[test]
fn a_packet_outside_memory_is_dropped() {
    let mut machine = Machine::new();
    let end = MEMORY_BYTES as u64;

    machine.guest.tx.describe(HEAD, end - 10, 44, (0, 0));
    machine.guest.tx.offer(HEAD);
    machine.guest.tx.describe(2, u64::MAX - 10, 44, (0, 0));
    machine.guest.tx.offer(2);
    machine.handle(Event::Queue(1));

    assert_eq!(machine.device.counters().bad_buffers, 2);
}

#[test]
fn a_packet_of_too_many_pieces_is_dropped() {
    let mut machine = Machine::new();

    send_scattered(&mut machine, &[0; 100], 1);

    assert_eq!(machine.device.counters().bad_buffers, 1);
}

#[test]
fn a_chain_that_bites_its_tail_ends() {
    let mut machine = Machine::new();

    machine.guest.tx.describe(HEAD, SCRATCH, 1, (NEXT, HEAD));
    machine.guest.tx.offer(HEAD);
    machine.handle(Event::Queue(1));

    assert_eq!(machine.device.counters().bad_buffers, 1);
}

#[test]
fn an_indirect_table_works_and_one_within_another_does_not() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);
    let header = machine.guest.header(id, Operation::ReadWrite, 0, 2);
    let mut packet = header.encode().to_vec();
    packet.extend(b"ok");
    let memory = machine.memory.clone();
    memory.write_slice(&packet, GuestAddress(SCRATCH)).unwrap();
    let table = SCRATCH + 0x1000;
    let tx = &mut machine.guest.tx;

    tx.describe_at(table, SCRATCH, 46, (0, 0));
    tx.describe(HEAD, table, 16, (INDIRECT, 0));
    tx.offer(HEAD);
    tx.describe_at(table + 16, table, 16, (INDIRECT, 0));
    tx.describe(2, table + 16, 16, (INDIRECT, 0));
    tx.offer(2);
    machine.handle(Event::Queue(1));

    assert_eq!(read_some(&mut client, 100).unwrap(), b"ok");
    assert_eq!(machine.device.counters().bad_buffers, 1);
}

#[test]
fn an_index_beyond_the_ring_breaks_the_device_until_reset() {
    let mut machine = Machine::new();
    machine.guest.tx.lie_about_index(300);

    let result = machine.try_handle(Event::Queue(1));

    assert!(matches!(result, Err(DeviceError::Queue { queue: 1, .. })));
}

#[test]
fn packets_added_while_the_queue_is_found_empty_are_no_fault() {
    const PACKETS: u16 = 60_000;
    let mut machine = Machine::new();
    let spare = Ring::new(&machine.memory, 5, 256);
    let mut ring = std::mem::replace(&mut machine.guest.tx, spare);

    let guest = std::thread::spawn(move || {
        let mut offered = 0;
        let mut taken = 0;
        while taken < PACKETS {
            if offered < PACKETS && offered - taken < 2 {
                ring.describe(offered % 256, SCRATCH, 44, (0, 0));
                ring.offer(offered % 256);
                offered += 1;
            }
            taken += u16::from(ring.take_used().is_some());
        }
    });
    while machine.device.counters().bad_packets < u64::from(PACKETS) {
        machine.handle(Event::Host);
    }

    guest.join().unwrap();
}

#[test]
fn a_head_beyond_the_table_breaks_the_device_until_reset() {
    let mut machine = Machine::new();
    machine.guest.tx.offer(256);

    let result = machine.try_handle(Event::Queue(1));

    assert!(matches!(result, Err(DeviceError::Queue { queue: 1, .. })));
}

#[test]
fn receive_buffers_too_small_are_skipped() {
    let mut machine = Machine::without_buffers();
    let _client = machine.dial(99);
    machine.run();
    machine.guest.rx.describe(0, RX_BUFFERS, 44, (WRITE, 0));
    machine.guest.rx.offer(0);
    machine.guest.rx.describe(1, RX_BUFFERS, 4096, (0, 0));
    machine.guest.rx.offer(1);
    machine
        .guest
        .rx
        .describe(2, MEMORY_BYTES as u64, 4096, (WRITE, 0));
    machine.guest.rx.offer(2);

    machine.handle(Event::Queue(0));

    assert_eq!(machine.device.counters().bad_buffers, 3);
    assert_eq!(machine.guest.rx.take_used(), Some((0, 0)));
}

#[test]
fn receive_buffers_in_pieces_are_filled_across() {
    let mut machine = Machine::without_buffers();
    let _client = machine.dial(99);
    machine.run();
    machine.guest.rx.describe(0, SCRATCH, 10, (NEXT | WRITE, 1));
    machine
        .guest
        .rx
        .describe(1, SCRATCH + 10, 1, (NEXT | WRITE, 2));
    machine.guest.rx.describe(2, SCRATCH + 11, 100, (WRITE, 0));
    machine.guest.rx.offer(0);

    machine.handle(Event::Queue(0));

    let mut bytes = [0; 44];
    machine
        .memory
        .read_slice(&mut bytes, GuestAddress(SCRATCH))
        .unwrap();
    let header = Header::parse(&bytes);
    assert_eq!(header.operation(), Some(Operation::Request));
    assert_eq!(header.destination_port, 99);
    assert_eq!(machine.guest.rx.take_used(), Some((0, 44)));
}

#[test]
fn a_guest_that_overruns_its_credit_is_reset() {
    let mut machine = Machine::new();
    let (_client, id) = machine.dialled(80);
    let packets = RECEIVE_BUFFER_BYTES / 0x1_0000;

    // What the unix socket takes does not count: twice its size and the credit are more than
    // both.
    for _ in 0..packets * 4 {
        let header = machine.guest.header(id, Operation::ReadWrite, 0, 0x1_0000);
        machine.guest.raw(header, &[1; 0x1_0000]);
    }
    machine.run();

    assert_eq!(machine.guest.sockets[id].state, State::Reset);
    assert_eq!(machine.device.connections(), 0);
}

#[test]
fn payload_after_the_guest_said_it_sends_no_more_is_a_reset() {
    let mut machine = Machine::new();
    let (_client, id) = machine.dialled(80);

    machine
        .guest
        .shutdown(id, super::super::packet::SHUTDOWN_SEND);
    machine.guest.packet(id, Operation::ReadWrite, 0, b"more");
    machine.run();

    assert_eq!(machine.guest.sockets[id].state, State::Reset);
}

#[test]
fn a_second_request_for_the_same_ports_is_a_reset() {
    let mut machine = Machine::new();
    let (_server, id) = machine.called();

    machine.guest.control(id, Operation::Request, 0);
    machine.run();

    assert_eq!(machine.guest.sockets[id].state, State::Reset);
}

#[test]
fn a_response_nobody_asked_for_is_a_reset() {
    let mut machine = Machine::new();
    let (_server, id) = machine.called();

    machine.guest.control(id, Operation::Response, 0);
    machine.run();

    assert_eq!(machine.guest.sockets[id].state, State::Reset);
}

#[test]
fn packets_for_no_connection_are_reset_and_resets_are_not() {
    let mut machine = Machine::new();
    let (_client, header) = stream_and_header(&mut machine, 0);
    machine.guest.record_headers = true;

    let lost = Header {
        source_port: 9,
        ..header
    };
    let operation = Operation::Reset as u16;
    machine.guest.raw(lost, &[]);
    machine.guest.raw(Header { operation, ..lost }, &[]);
    machine.run();

    assert_eq!(machine.guest.received.len(), 1);
    assert_eq!(
        machine.guest.received[0].operation(),
        Some(Operation::Reset)
    );
}

#[test]
fn a_credit_request_is_answered() {
    let mut machine = Machine::new();
    let (_client, id) = machine.dialled(80);
    machine.guest.record_headers = true;

    machine.guest.control(id, Operation::CreditRequest, 0);
    machine.run();

    let answer = machine.guest.received[0];
    assert_eq!(answer.operation(), Some(Operation::CreditUpdate));
    assert_eq!(answer.buffer_bytes, RECEIVE_BUFFER_BYTES);
}
