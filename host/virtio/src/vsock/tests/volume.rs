//! Much data, both ways at once, with real threads on the host's side; and how fast it went.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

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

/// Runs the machine until `done`, and returns what the device used of the processor.
fn drive(machine: &mut Machine, mut done: impl FnMut(&mut Machine) -> bool) -> Duration {
    let before = machine.busy;
    while !done(machine) {
        if !machine.turn() {
            machine.host_event_waits(Duration::from_millis(1));
        }
    }
    machine.busy - before
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

#[test]
#[ignore = "measures; run by hand in a release build with --nocapture"]
fn measures_the_way_to_the_guest() {
    let mut machine = Machine::new();
    let (client, _) = machine.dialled(80);
    client.set_nonblocking(false).unwrap();
    machine.guest.discard = true;
    let start = Instant::now();
    let writing = writer(client, 4 << 30);
    let (calls, interrupts) = (machine.calls, machine.line.count.get());

    let busy = drive(&mut machine, |machine| machine.guest.discarded == 4 << 30);

    writing.join().unwrap();
    report("host to guest", 4.0, busy, start.elapsed());
    println!(
        "{} calls, {} interrupts",
        machine.calls - calls,
        machine.line.count.get() - interrupts
    );
}

#[test]
#[ignore = "measures; run by hand in a release build with --nocapture"]
fn measures_the_way_from_the_guest() {
    let mut machine = Machine::new();
    let (mut client, id) = machine.dialled(80);
    client.set_nonblocking(false).unwrap();
    let reading = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while client.read(&mut buffer).unwrap() > 0 {}
    });
    let bytes = pattern(64 * 1024);
    let start = Instant::now();
    let mut sent = 0;

    let busy = drive(&mut machine, |machine| {
        sent += machine.guest.send(id, &bytes);
        sent >= 4 << 30
    });
    machine.guest.close(id);
    machine.run();

    reading.join().unwrap();
    report("guest to host", 4.0, busy, start.elapsed());
}

fn report(what: &str, gibibytes: f64, busy: Duration, elapsed: Duration) {
    println!(
        "{what}: {:.2} GiB/s of the device's processor time, {:.2} GiB/s on the clock",
        gibibytes / busy.as_secs_f64(),
        gibibytes / elapsed.as_secs_f64()
    );
}
