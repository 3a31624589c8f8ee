//! What a guest gets from the entropy device, and what it cannot make it do.

use super::*;
use crate::mock_guest::{MEMORY_BYTES, MockGuest, Part, memory};

const BUFFER: u64 = 0x10_0000;

#[test]
fn fills_the_guests_buffer_with_random_bytes() {
    let memory = memory();
    let mut guest = MockGuest::new(&memory);
    guest.offer(&[
        Part::Writable(BUFFER, 1000),
        Part::Writable(BUFFER + 4096, 24),
    ]);

    guest.kick(&mut Rng::new()).unwrap();

    assert_eq!(guest.used(), [1024]);
    assert_ne!(guest.read(BUFFER, 1000), vec![0; 1000]);
    assert_ne!(guest.read(BUFFER + 4096, 24), vec![0; 24]);
    assert_eq!(guest.interrupts(), 1);
}

#[test]
fn serves_every_waiting_request_and_interrupts_once() {
    let memory = memory();
    let mut guest = MockGuest::new(&memory);
    guest.use_event_index();
    guest.offer(&[Part::Writable(BUFFER, 16)]);
    guest.offer(&[Part::Writable(BUFFER, 32)]);

    guest.kick(&mut Rng::new()).unwrap();

    assert_eq!(guest.used(), [16, 32]);
    assert_eq!(guest.interrupts(), 1);
}

#[test]
fn leaves_the_rest_of_a_full_ring_for_the_next_call() {
    let memory = memory();
    let mut guest = MockGuest::new(&memory);
    for _ in 0..20 {
        guest.offer(&[Part::Writable(BUFFER, 8)]);
    }

    let first = guest.kick_once(&mut Rng::new()).unwrap();
    let served_first = guest.used().len();
    let second = guest.kick_once(&mut Rng::new()).unwrap();

    assert_eq!((first, served_first), (Progress::More, 16));
    assert_eq!((second, guest.used().len()), (Progress::Idle, 4));
}

#[test]
fn gives_no_more_than_its_bound_to_one_request() {
    let memory = memory();
    let mut guest = MockGuest::new(&memory);
    guest.offer(&[Part::Writable(BUFFER, 8 << 20)]);

    guest.kick(&mut Rng::new()).unwrap();

    assert_eq!(guest.used(), [64 * 1024]);
}

#[test]
fn drops_a_buffer_outside_guest_memory_and_goes_on() {
    let memory = memory();
    let mut guest = MockGuest::new(&memory);
    guest.offer(&[Part::Writable(MEMORY_BYTES as u64 - 8, 64)]);
    guest.offer(&[Part::Writable(BUFFER, 8)]);

    guest.kick(&mut Rng::new()).unwrap();

    assert_eq!(guest.used(), [0, 8]);
}

#[test]
fn does_not_write_to_a_readable_buffer() {
    let memory = memory();
    let mut guest = MockGuest::new(&memory);
    guest.offer(&[Part::Readable(BUFFER, 64)]);

    guest.kick(&mut Rng::new()).unwrap();

    assert_eq!(guest.used(), [0]);
    assert_eq!(guest.read(BUFFER, 64), vec![0; 64]);
}

#[test]
fn reports_a_ring_that_claims_more_than_it_holds() {
    let memory = memory();
    let mut guest = MockGuest::new(&memory);
    guest.claim_available(1000);

    let error = guest.kick(&mut Rng::new()).unwrap_err();

    assert!(matches!(error, DeviceError::Queue { queue: 0, .. }));
}
