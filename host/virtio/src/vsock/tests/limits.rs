//! What is bounded stays within its bounds, and time runs out where it should.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::super::packet::Operation;
use super::super::table::MAX_CONNECTIONS;
use super::guest::State;
use super::machine::{Machine, SERVED_PORT, read_some};
use crate::device::VirtioDevice;

#[test]
fn the_table_is_bounded_and_drains() {
    // Both ends of each connection are ours; a user's soft limit is often 1,024.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let mut machine = Machine::new();
    let mut ids = Vec::new();
    let mut servers = Vec::new();
    while machine.device.connections() < MAX_CONNECTIONS {
        ids.push(machine.guest.connect(SERVED_PORT));
        machine.run();
        servers.push(machine.service.accept().unwrap());
    }
    machine.guest.listen(80);
    let mut waiting = machine.dial(80);

    let refused = machine.guest.connect(SERVED_PORT);
    machine.run();
    let early = read_some(&mut waiting, 1);
    machine.guest.close(ids[0]);
    machine.run();

    assert_eq!(machine.guest.sockets[refused].state, State::Refused);
    assert_eq!(early, None);
    assert_eq!(read_some(&mut waiting, 1).unwrap(), [0]);
    assert_eq!(machine.device.connections(), MAX_CONNECTIONS);
    for id in ids {
        machine.guest.close(id);
    }
    drop(waiting);
    machine.run();
    assert_eq!(machine.device.counters().bad_packets, 0);
    assert_eq!(machine.device.connections(), 0);
}

#[test]
fn a_guest_that_floods_resets_goes_without_some() {
    let mut machine = Machine::without_buffers();
    let id = machine.guest.connect(1);
    for _ in 0..3_000 {
        machine.guest.control(id, Operation::ReadWrite, 0);
        machine.run();
    }

    assert!(machine.device.counters().dropped_resets > 0);
    assert_eq!(machine.device.connections(), 0);
}

#[test]
fn a_guest_that_opens_and_resets_without_buffers_costs_nothing() {
    let mut machine = Machine::without_buffers();
    for _ in 0..3_000 {
        let id = machine.guest.connect(SERVED_PORT);
        machine.guest.control(id, Operation::Reset, 0);
        machine.run();
        drop(machine.service.accept().unwrap());
    }

    assert_eq!(machine.device.connections(), 0);
    assert_eq!(machine.device.counters().dropped_resets, 0);
}

#[test]
fn a_guest_that_never_answers_costs_the_client_a_few_seconds() {
    let mut machine = Machine::without_buffers();
    let mut client = machine.dial(80);
    let mut answer = None;

    machine.run_until(|_| {
        answer = read_some(&mut client, 1);
        answer.is_some()
    });

    assert_eq!(answer.unwrap(), [1]);
    assert_eq!(machine.device.connections(), 0);
    assert_eq!(machine.device.counters().failed_dials, 1);
}

#[test]
fn a_client_that_names_no_port_is_let_go() {
    let mut machine = Machine::new();
    let path = machine.directory.path().join("dial");
    let mut silent = UnixStream::connect(path).unwrap();
    silent.set_nonblocking(true).unwrap();

    machine.run_until(|_| read_some(&mut silent, 1).is_some());

    assert_eq!(machine.device.connections(), 0);
}

#[test]
fn the_configuration_space_holds_the_guests_identifier() {
    let machine = Machine::new();
    let mut whole = [0xff; 8];
    let mut beyond = [0xff; 4];
    let mut far = [0xff; 1];

    machine.device.read_config(0, &mut whole);
    machine.device.read_config(6, &mut beyond);
    machine.device.read_config(u64::MAX, &mut far);

    assert_eq!(u64::from_le_bytes(whole), super::guest::CID);
    assert_eq!(beyond, [0; 4]);
    assert_eq!(far, [0]);
}

#[test]
fn an_idle_device_asks_for_nothing() {
    let mut machine = Machine::new();
    let _stream = machine.dialled(80);
    machine.settle();

    assert!(!machine.host_event_waits(Duration::from_millis(20)));
}
