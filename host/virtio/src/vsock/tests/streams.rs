//! Bytes arrive, all and in order, however they are sent and read.

use std::io::Write;
use std::os::unix::net::UnixStream;

use super::super::credit::MAX_PACKETS_IN_FLIGHT;
use super::super::packet::SHUTDOWN_SEND;
use super::guest::{BUFFER_BYTES, State};
use super::machine::{Machine, pattern, read_some, write_some};

/// Sends `bytes` both ways at once and returns what the host and the guest received.
fn exchange(
    machine: &mut Machine,
    (host, id): (&mut UnixStream, usize),
    bytes: &[u8],
    (write_piece, read_piece): (usize, usize),
) -> (Vec<u8>, Vec<u8>) {
    let (mut host_sent, mut guest_sent) = (0, 0);
    let (mut host_received, mut guest_received) = (Vec::new(), Vec::new());
    machine.run_until(|machine| {
        let until = bytes.len().min(host_sent + write_piece);
        if host_sent < until {
            host_sent += write_some(host, &bytes[host_sent..until]);
        }
        let until = bytes.len().min(guest_sent + write_piece);
        if guest_sent < until {
            guest_sent += machine.guest.send(id, &bytes[guest_sent..until]);
        }
        guest_received.extend(machine.guest.receive(id, read_piece));
        host_received.extend(read_some(host, read_piece).unwrap_or_default());
        host_received.len() == bytes.len() && guest_received.len() == bytes.len()
    });
    (host_received, guest_received)
}

/// Writes bytes, each a packet of its own, until nobody takes them any more.
fn write_bytes_one_by_one(machine: &mut Machine, client: &mut UnixStream) -> usize {
    let mut sent = 0;
    machine.run_until(|machine| {
        let count = write_some(client, b"x");
        sent += count;
        machine.run();
        count == 0
    });
    sent
}

#[test]
fn eight_mebibytes_each_way_at_once_arrive_whole() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);
    let bytes = pattern(8 << 20);

    let pieces = (128 * 1024, 1 << 20);
    let (host, guest) = exchange(&mut machine, (&mut client, id), &bytes, pieces);

    assert!(host == bytes, "guest to host");
    assert!(guest == bytes, "host to guest");
    assert!(!machine.guest.sockets[id].overrun);
}

#[test]
fn single_bytes_arrive_whole() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);
    let bytes = pattern(5_000);

    let (host, guest) = exchange(&mut machine, (&mut client, id), &bytes, (1, 1));

    assert!(host == bytes, "guest to host");
    assert!(guest == bytes, "host to guest");
}

#[test]
fn a_guest_that_does_not_read_is_sent_its_buffer_and_no_more() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);
    let bytes = pattern(1 << 20);
    let mut sent = 0;

    machine.run_until(|machine| {
        let more = write_some(&mut client, &bytes[sent..]);
        sent += more;
        machine.run();
        more == 0
    });
    let held = machine.guest.receive(id, 1 << 20);
    machine.run();
    let calls = machine.calls;
    machine.run();

    assert_eq!(held.len(), BUFFER_BYTES as usize);
    assert!(held == bytes[..held.len()]);
    assert_eq!(machine.guest.sockets[id].state, State::Open);
    assert_eq!(machine.calls, calls, "nothing to do, nothing done");
}

#[test]
fn a_slow_guest_gets_everything_in_the_end() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);
    let bytes = pattern(1 << 20);
    let (mut sent, mut received) = (0, Vec::new());

    machine.run_until(|machine| {
        sent += write_some(&mut client, &bytes[sent..]);
        machine.run();
        received.extend(machine.guest.receive(id, 1_000));
        received.len() == bytes.len()
    });

    assert!(received == bytes);
    assert!(!machine.guest.sockets[id].overrun);
}

#[test]
fn a_slow_client_gets_everything_in_the_end() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);
    let bytes = pattern(2 << 20);
    let (mut sent, mut received) = (0, Vec::new());

    machine.run_until(|machine| {
        sent += machine.guest.send(id, &bytes[sent..]);
        machine.run();
        received.extend(read_some(&mut client, 5_000).unwrap_or_default());
        received.len() == bytes.len()
    });
    machine.guest.shutdown(id, SHUTDOWN_SEND);
    machine.run();

    assert!(received == bytes);
    assert_eq!(read_some(&mut client, 1).unwrap(), []);
}

#[test]
fn the_end_follows_bytes_that_had_to_wait() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);
    let bytes = pattern(400 * 1024);
    let mut sent = 0;
    machine.run_until(|machine| {
        let more = machine.guest.send(id, &bytes[sent..]);
        sent += more;
        machine.run();
        more == 0
    });
    machine.guest.shutdown(id, SHUTDOWN_SEND);
    machine.run();
    let mut received: Vec<u8> = Vec::new();

    machine.run_until(|_| match read_some(&mut client, 1 << 16) {
        Some(more) => {
            received.extend(&more);
            more.is_empty()
        }
        None => false,
    });

    assert!(received == bytes[..sent]);
    assert_eq!(machine.guest.sockets[id].state, State::Open);
}

#[test]
fn tiny_packets_never_exceed_what_linux_queues() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);

    let sent = write_bytes_one_by_one(&mut machine, &mut client);
    let metered = machine.guest.sockets[id].most_packets_queued;
    let first = machine.guest.receive(id, 10_000).len();
    machine.run();
    let second = machine.guest.receive(id, 10_000).len();

    assert!(!machine.guest.sockets[id].overrun);
    assert!(metered <= 256, "{metered} packets in a buffer of 256 KiB");
    assert_eq!(first + second, sent);
}

#[test]
fn packets_in_flight_are_bounded_however_large_the_guests_buffer() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);
    machine.guest.sockets[id].buffer_bytes = u32::MAX;
    machine
        .guest
        .control(id, super::super::packet::Operation::CreditUpdate, 0);
    machine.run();

    write_bytes_one_by_one(&mut machine, &mut client);

    let queued = machine.guest.sockets[id].most_packets_queued;
    assert_eq!(queued, MAX_PACKETS_IN_FLIGHT);
}

#[test]
fn many_small_messages_in_a_socket_fill_descriptors() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);
    machine.guest.record_headers = true;

    for _ in 0..200 {
        client.write_all(&[b'x'; 50]).unwrap();
    }
    machine.run();

    assert_eq!(machine.guest.receive(id, 20_000).len(), 10_000);
    assert_eq!(
        machine.guest.received.len(),
        3,
        "10,000 bytes in 4 KiB buffers"
    );
}

#[test]
fn one_stream_does_not_starve_another() {
    let mut machine = Machine::new();
    let (mut greedy, greedy_id) = machine.dialled(80);
    let (mut modest, modest_id) = machine.dialled(81);
    machine.guest.sockets[greedy_id].buffer_bytes = u32::MAX;
    machine
        .guest
        .control(greedy_id, super::super::packet::Operation::CreditUpdate, 0);
    machine.run();
    // One ring of buffers for both: 128 are taken by the greedy one at most.
    write_some(&mut greedy, &pattern(4 << 20));
    modest.write_all(b"please").unwrap();

    machine.handle(crate::Event::Host);
    machine.guest.interrupt();

    assert_eq!(machine.guest.receive(modest_id, 10), b"please");
}

#[test]
fn many_packets_cost_one_interrupt() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);
    machine.settle();
    write_some(&mut client, &pattern(100_000));
    let before = machine.line.count.get();

    machine.handle(crate::Event::Host);
    let interrupts = machine.line.count.get() - before;
    machine.guest.interrupt();

    assert_eq!(interrupts, 1);
    assert_eq!(machine.guest.receive(id, 1 << 20).len(), 100_000);
}

#[test]
fn a_request_and_its_answer_cost_one_interrupt() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);
    machine.settle();
    let before = machine.line.count.get();

    machine.guest.send(id, b"request");
    machine.run();
    client.write_all(b"answer").unwrap();
    machine.handle(crate::Event::Host);

    // One for each queue, raised together: the guest wakes up once.
    assert_eq!(machine.line.count.get(), before + 2);
}

#[test]
fn large_packets_are_given_back_at_once() {
    let mut machine = Machine::new();
    let (_client, id) = machine.dialled(80);
    machine.settle();

    machine.guest.send(id, &[1; 192 * 1024]);
    machine.handle(crate::Event::Queue(1));
    machine.guest.interrupt();

    assert_eq!(machine.guest.tx_in_flight(), 0);
}

#[test]
fn an_idle_guest_gets_its_packets_back_in_the_end() {
    let mut machine = Machine::new();
    let (_client, id) = machine.dialled(80);
    machine.settle();
    machine.guest.send(id, b"lonely");
    machine.run();
    let waiting = machine.guest.tx_in_flight();

    machine.settle();

    assert_eq!(waiting, 1);
    assert_eq!(machine.guest.tx_in_flight(), 0);
}

#[test]
fn packets_may_be_scattered_over_descriptors() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);
    let payload = pattern(3_000);
    let header = machine.guest.header(
        id,
        super::super::packet::Operation::ReadWrite,
        0,
        payload.len(),
    );
    let mut packet = header.encode().to_vec();
    packet.extend(&payload);

    super::hostile::send_scattered(&mut machine, &packet, 100);
    machine.run();

    assert!(read_some(&mut client, 10_000).unwrap() == payload);
}
