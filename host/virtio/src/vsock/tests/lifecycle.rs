//! Connections come up, end one direction at a time, and leave nothing behind.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixListener;

use super::super::packet::{Operation, SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};
use super::guest::State;
use super::machine::{Machine, SERVED_PORT, read_some, write_some};
use crate::device::Event;

#[test]
fn a_client_reaches_a_guest_port() {
    let mut machine = Machine::new();

    let (mut client, id) = machine.dialled(1024);
    client.write_all(b"ping").unwrap();
    machine.run();
    let heard = machine.guest.receive(id, 100);
    machine.guest.send(id, b"pong");
    machine.run();

    assert_eq!(heard, b"ping");
    assert_eq!(read_some(&mut client, 100).unwrap(), b"pong");
}

#[test]
fn a_client_may_write_before_it_is_connected() {
    let mut machine = Machine::new();
    machine.guest.listen(5);
    let mut client = machine.dial(5);
    client.write_all(b"early").unwrap();

    machine.run();
    let id = machine.guest.accept().unwrap();

    assert_eq!(machine.guest.receive(id, 100), b"early");
    assert_eq!(read_some(&mut client, 100).unwrap(), [0]);
}

#[test]
fn a_client_of_a_port_nobody_listens_on_is_refused() {
    let mut machine = Machine::new();
    let mut client = machine.dial(99);

    machine.run();

    assert_eq!(read_some(&mut client, 100).unwrap(), [1]);
    assert_eq!(read_some(&mut client, 100).unwrap(), []);
    assert_eq!(machine.device.connections(), 0);
}

#[test]
fn a_client_may_name_its_port_byte_by_byte() {
    let mut machine = Machine::new();
    machine.guest.listen(0x0102_0304);
    let path = machine.directory.path().join("dial");
    let mut client = std::os::unix::net::UnixStream::connect(path).unwrap();

    client.write_all(&[4, 3]).unwrap();
    machine.run();
    let early = machine.guest.accept();
    client.write_all(&[2, 1]).unwrap();
    machine.run();

    assert_eq!(early, None);
    assert!(machine.guest.accept().is_some());
}

#[test]
fn clients_wait_until_the_guest_has_buffers() {
    let mut machine = Machine::without_buffers();
    machine.guest.listen(7);
    let mut client = machine.dial(7);
    machine.run();
    let early = read_some(&mut client, 1);

    machine.guest.fill();
    machine.run();

    assert_eq!(early, None);
    assert_eq!(read_some(&mut client, 1).unwrap(), [0]);
}

#[test]
fn the_guest_reaches_a_service_of_the_host() {
    let mut machine = Machine::new();

    let (mut server, id) = machine.called();
    machine.guest.send(id, b"question");
    server.write_all(b"answer").unwrap();
    machine.run();

    assert_eq!(machine.guest.sockets[id].state, State::Open);
    assert_eq!(read_some(&mut server, 100).unwrap(), b"question");
    assert_eq!(machine.guest.receive(id, 100), b"answer");
}

#[test]
fn the_guest_is_refused_where_nothing_is_served() {
    let mut machine = Machine::new();

    let unknown = machine.guest.connect(12345);
    let absent = machine.guest.connect(701);
    machine.run();

    assert_eq!(machine.guest.sockets[unknown].state, State::Refused);
    assert_eq!(machine.guest.sockets[absent].state, State::Refused);
    assert_eq!(machine.device.connections(), 0);
}

#[test]
fn a_busy_service_is_tried_again() {
    let mut machine = Machine::new();
    let path = machine.directory.path().join("service");
    std::fs::remove_file(&path).unwrap();
    let busy = UnixListener::bind(&path).unwrap();
    nix::sys::socket::listen(&busy, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let occupant = std::os::unix::net::UnixStream::connect(&path).unwrap();

    let id = machine.guest.connect(SERVED_PORT);
    machine.run();
    let early = machine.guest.sockets[id].state;
    drop(busy.accept().unwrap());
    machine.run_until(|machine| machine.guest.sockets[id].state == State::Open);

    assert_eq!(early, State::Connecting);
    drop(occupant);
}

#[test]
fn the_guests_answer_arrives_after_the_client_ended_its_request() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);

    client.write_all(b"request").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    machine.run();
    let request = machine.guest.receive(id, 100);
    let ended = machine.guest.at_end(id);
    machine.guest.send(id, b"response");
    machine.guest.close(id);
    machine.run();

    assert_eq!(request, b"request");
    assert!(ended);
    assert_eq!(read_some(&mut client, 100).unwrap(), b"response");
    assert_eq!(read_some(&mut client, 100).unwrap(), []);
    assert_eq!(machine.device.connections(), 0);
    assert_eq!(machine.guest.sockets[id].state, State::Closed);
}

#[test]
fn the_clients_answer_arrives_after_the_guest_ended_its_request() {
    let mut machine = Machine::new();
    let (mut server, id) = machine.called();

    machine.guest.send(id, b"request");
    machine.guest.shutdown(id, SHUTDOWN_SEND);
    machine.run();
    let request = read_some(&mut server, 100).unwrap();
    let end = read_some(&mut server, 100).unwrap();
    server.write_all(b"response").unwrap();
    drop(server);
    machine.run();

    assert_eq!(request, b"request");
    assert_eq!(end, []);
    assert_eq!(machine.guest.receive(id, 100), b"response");
    assert!(machine.guest.at_end(id));
    machine.guest.close(id);
    machine.run();
    assert_eq!(machine.device.connections(), 0);
}

#[test]
fn both_directions_may_end_one_after_the_other() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);

    machine.guest.shutdown(id, SHUTDOWN_SEND);
    machine.run();
    let end = read_some(&mut client, 1).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    machine.run();

    assert_eq!(end, []);
    assert_eq!(machine.guest.sockets[id].peer_shutdown, SHUTDOWN_BOTH);
    assert_eq!(machine.device.connections(), 0);
}

#[test]
fn a_client_that_closes_ends_both_directions() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);

    client.write_all(b"last words").unwrap();
    drop(client);
    machine.run();

    assert_eq!(machine.guest.receive(id, 100), b"last words");
    assert_eq!(machine.guest.sockets[id].peer_shutdown, SHUTDOWN_BOTH);
    machine.guest.close(id);
    machine.run();
    assert_eq!(machine.device.connections(), 0);
}

#[test]
fn a_guest_that_reads_no_more_stops_the_client() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);

    machine.guest.shutdown(id, SHUTDOWN_RECEIVE);
    machine.run();
    let refused = client.write(b"unwanted").unwrap_err();
    machine.guest.send(id, b"still talking");
    machine.run();

    assert_eq!(refused.kind(), std::io::ErrorKind::BrokenPipe);
    assert_eq!(read_some(&mut client, 100).unwrap(), b"still talking");
}

#[test]
fn a_guest_that_closes_with_bytes_unread_ends_the_client_properly() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);
    machine.guest.send(id, b"bye");
    machine.guest.close(id);
    write_some(&mut client, b"never read by the guest");

    machine.run();

    assert_eq!(read_some(&mut client, 100).unwrap(), b"bye");
    assert_eq!(read_some(&mut client, 100).unwrap(), []);
}

#[test]
fn a_reset_of_the_guest_ends_the_client() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);

    machine.guest.send(id, b"half a");
    machine.guest.reset(id);
    machine.run();

    assert_eq!(read_some(&mut client, 100).unwrap(), b"half a");
    assert_eq!(read_some(&mut client, 100).unwrap(), []);
    assert_eq!(machine.device.connections(), 0);
}

#[test]
fn a_reset_in_the_midst_of_a_transfer_leaves_nothing_behind() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);
    machine.run_until(|machine| {
        let written = write_some(&mut client, &[1; 64 * 1024]);
        let sent = machine.guest.send(id, &[2; 64 * 1024]);
        machine.turn();
        written == 0 && sent == 0
    });

    machine.guest.reset(id);
    machine.run();
    drop(client);
    machine.run();

    assert_eq!(machine.device.connections(), 0);
    let (mut next, id) = machine.dialled(80);
    write_some(&mut next, b"next");
    machine.run();
    assert_eq!(machine.guest.receive(id, 10), b"next");
}

#[test]
fn a_client_that_dies_in_the_midst_of_a_transfer_resets_the_guest() {
    let mut machine = Machine::new();
    let (client, id) = machine.dialled(80);
    machine.guest.send(id, &[2; 100 * 1024]);
    machine.run();

    // Closed with bytes unread: a unix socket tells the other end of a broken connection.
    drop(client);
    machine.run();

    assert_eq!(machine.guest.sockets[id].state, State::Reset);
    assert_eq!(machine.device.connections(), 0);
    assert_eq!(machine.device.counters().bad_packets, 0);
}

#[test]
fn bytes_the_reader_has_not_taken_outlive_the_guests_socket() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);
    let mut sent = 0;
    // More than a unix socket holds, so that the rest waits in the device.
    machine.run_until(|machine| {
        let more = machine.guest.send(id, &[9; 64 * 1024]);
        sent += more;
        machine.run();
        more == 0
    });
    machine.guest.close(id);
    machine.run();
    let closed = machine.guest.sockets[id].state;

    let mut received = 0;
    machine.run_until(|_| match read_some(&mut client, 1 << 20) {
        Some(bytes) => {
            received += bytes.len();
            bytes.is_empty()
        }
        None => false,
    });
    machine.run();

    assert_eq!(closed, State::Closed);
    assert_eq!(received, sent);
    assert_eq!(machine.device.connections(), 0);
}

#[test]
fn a_reset_of_the_device_closes_everything_and_it_works_again() {
    let mut machine = Machine::new();
    let (mut client, _) = machine.dialled(80);
    let (mut server, _) = machine.called();

    machine.reboot();
    let (mut next, id) = machine.dialled(81);
    next.write_all(b"again").unwrap();
    machine.run();

    assert_eq!(read_some(&mut client, 1).unwrap(), []);
    assert_eq!(read_some(&mut server, 1).unwrap(), []);
    assert_eq!(machine.guest.receive(id, 100), b"again");
}

#[test]
fn a_queue_that_is_not_set_up_is_left_alone() {
    let mut machine = Machine::without_buffers();
    let _client = machine.dial(80);
    virtio_queue::QueueT::set_ready(&mut machine.queues[0], false);
    virtio_queue::QueueT::set_ready(&mut machine.queues[1], false);

    machine.handle(Event::Host);
    machine.handle(Event::Queue(2));

    assert_eq!(machine.device.connections(), 1);
}

#[test]
fn ten_thousand_connections_leave_nothing_behind() {
    let mut machine = Machine::new();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let (client, id) = machine.dialled(80);
    drop(client);
    machine.guest.close(id);
    machine.run();
    let before = descriptors();

    for round in 0..5_000 {
        let (mut client, id) = machine.dialled(80);
        client.write_all(b"x").unwrap();
        machine.run();
        assert_eq!(machine.guest.receive(id, 1), b"x");
        if round % 2 == 0 {
            drop(client);
            machine.run();
            machine.guest.close(id);
        } else {
            machine.guest.close(id);
            machine.run();
            drop(client);
        }
        machine.run();
        let (server, id) = machine.called();
        machine.guest.control(id, Operation::Reset, 0);
        drop(server);
        machine.run();
    }

    assert_eq!(machine.device.connections(), 0);
    // Other tests run in the same process; a leak of one kind would be five thousand.
    assert!(descriptors() < before + 4_500);
}
