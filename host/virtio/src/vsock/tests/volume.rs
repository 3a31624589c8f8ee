//! Much data, both ways at once, with real threads on the host's side; and how fast it went.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::super::packet::SHUTDOWN_SEND;
use super::machine::{Machine, pattern};

/// Bytes each way: a debug build would take a minute for all of it.
const VOLUME: usize = if cfg!(debug_assertions) {
    128 << 20
} else {
    1 << 30
};

/// Length after which the pattern of bytes repeats.
const PERIOD: usize = 251 * 4096;

/// Writes `volume` bytes of the pattern and ends the stream.
fn writer(mut stream: UnixStream, volume: usize) -> JoinHandle<()> {
    thread::spawn(move || {
        let bytes = pattern(PERIOD);
        let mut left = volume;
        while left > 0 {
            let count = left.min(bytes.len());
            stream.write_all(&bytes[..count]).unwrap();
            left -= count;
        }
        stream.shutdown(Shutdown::Write).unwrap();
    })
}

/// Reads to the end and returns how many bytes of the pattern came.
fn reader(mut stream: UnixStream) -> JoinHandle<usize> {
    thread::spawn(move || {
        let expected = pattern(2 * PERIOD);
        let mut buffer = vec![0; PERIOD];
        let mut total = 0;
        loop {
            let count = stream.read(&mut buffer).unwrap();
            if count == 0 {
                return total;
            }
            let from = total % PERIOD;
            assert!(buffer[..count] == expected[from..from + count]);
            total += count;
        }
    })
}

/// Runs the machine until `done`.
fn drive(machine: &mut Machine, mut done: impl FnMut(&mut Machine) -> bool) {
    while !done(machine) {
        if !machine.turn() {
            machine.host_event_waits(Duration::from_millis(1));
        }
    }
}

#[test]
fn a_gibibyte_each_way_at_once_arrives_whole() {
    let mut machine = Machine::new();
    let (client, id) = machine.dialled(80);
    client.set_nonblocking(false).unwrap();
    let writing = writer(client.try_clone().unwrap(), VOLUME);
    let reading = reader(client);
    let bytes = pattern(2 * PERIOD);
    let (mut sent, mut received) = (0, 0);

    drive(&mut machine, |machine| {
        let heard = machine.guest.receive(id, 1 << 20);
        let from = received % PERIOD;
        assert!(heard == bytes[from..from + heard.len()]);
        received += heard.len();
        let from = sent % PERIOD;
        let count = (VOLUME - sent).min(256 * 1024);
        sent += machine.guest.send(id, &bytes[from..from + count]);
        received == VOLUME && sent == VOLUME
    });
    machine.guest.shutdown(id, SHUTDOWN_SEND);
    machine.run();

    writing.join().unwrap();
    assert_eq!(reading.join().unwrap(), VOLUME);
    assert!(machine.guest.at_end(id));
}
