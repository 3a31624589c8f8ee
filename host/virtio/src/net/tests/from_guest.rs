//! Frames from the guest, honest and other.

use vm_memory::{Bytes, GuestAddress};

use super::guest::{HEADER, MAX_FRAME, MEMORY_BYTES, Machine, TX_BUFFER, frame};
use crate::device::{DeviceError, Event, Progress};
use crate::mock_ring::{INDIRECT, NEXT, WRITE};

const TRANSMITTED: Event = Event::Queue(1);

#[test]
fn a_frame_reaches_the_link_without_its_header() {
    let mut machine = Machine::new();
    machine.send(0, &frame(60, 3), &[]);

    machine.handle(TRANSMITTED);

    assert_eq!(machine.wire().received, [frame(60, 3)]);
    assert_eq!(machine.tx.take_used(), Some((0, 0)));
    assert_eq!(machine.interrupts(1), 1);
}

#[test]
fn a_frame_in_pieces_is_put_together() {
    let mut machine = Machine::new();
    machine.send(0, &frame(5000, 3), &[1, 4, HEADER, 3000, 1]);

    machine.handle(TRANSMITTED);

    assert_eq!(machine.wire().received, [frame(5000, 3)]);
}

#[test]
fn the_largest_frame_passes_and_a_larger_one_is_dropped() {
    let mut machine = Machine::new();
    machine.send(0, &frame(MAX_FRAME, 0), &[HEADER, 40_000]);
    machine.send(8, &frame(MAX_FRAME + 1, 0), &[HEADER, 40_000]);

    machine.handle(TRANSMITTED);

    assert_eq!(machine.wire().received, [frame(MAX_FRAME, 0)]);
    assert_eq!(machine.faults(), 1);
    assert_eq!(machine.tx.take_used(), Some((0, 0)));
    assert_eq!(machine.tx.take_used(), Some((8, 0)));
}

#[test]
fn what_is_too_short_for_a_frame_is_dropped() {
    let mut machine = Machine::new();
    machine.send(0, &frame(13, 0), &[]);
    machine.send(1, &[], &[]);
    machine.tx.describe(2, TX_BUFFER, 4, (0, 0));
    machine.tx.offer(2);
    machine.send(3, &frame(14, 0), &[]);

    machine.handle(TRANSMITTED);

    assert_eq!(machine.wire().received, [frame(14, 0)]);
    assert_eq!(machine.faults(), 3);
}

#[test]
fn broken_chains_are_dropped_and_given_back() {
    let mut machine = Machine::new();
    let outside = MEMORY_BYTES as u64 - 30;
    machine.tx.describe(0, outside, 100, (0, 0));
    machine.tx.describe(1, TX_BUFFER, 30, (NEXT, 1));
    machine.tx.describe(2, TX_BUFFER, 30, (NEXT, 999));
    machine.tx.describe(3, TX_BUFFER, 100, (WRITE, 0));
    machine.tx.describe(4, TX_BUFFER, 30, (WRITE | NEXT, 5));
    machine.tx.describe(5, TX_BUFFER, 30, (0, 0));
    for head in [0, 1, 2, 3, 4] {
        machine.tx.offer(head);
    }
    machine.send(6, &frame(60, 0), &[]);

    machine.handle(TRANSMITTED);

    assert_eq!(machine.wire().received, [frame(60, 0)]);
    assert_eq!(machine.faults(), 5);
    for head in [0, 1, 2, 3, 4, 6] {
        assert_eq!(machine.tx.take_used(), Some((head, 0)));
    }
}

#[test]
fn a_frame_behind_an_indirect_table_passes() {
    const TABLE: u64 = TX_BUFFER + 0x10_0000;
    let mut machine = Machine::new();
    let memory = &machine.memory;
    let bytes = [vec![0; HEADER], frame(300, 5)].concat();
    memory.write_slice(&bytes, GuestAddress(TX_BUFFER)).unwrap();
    machine.tx.describe_at(TABLE, TX_BUFFER, 100, (NEXT, 1));
    machine
        .tx
        .describe_at(TABLE + 16, TX_BUFFER + 100, 212, (0, 0));
    machine.tx.describe(0, TABLE, 32, (INDIRECT, 0));
    machine.tx.offer(0);

    machine.handle(TRANSMITTED);

    assert_eq!(machine.wire().received, [frame(300, 5)]);
}

#[test]
fn a_ring_full_of_frames_is_taken_in_shares() {
    let mut machine = Machine::new();
    for index in 0..100 {
        machine.send(index, &frame(60, usize::from(index)), &[]);
    }

    let first = machine.try_handle(TRANSMITTED).unwrap();
    let taken_first = machine.wire().received.len();
    let second = machine.try_handle(TRANSMITTED).unwrap();

    assert_eq!((first, taken_first), (Progress::More, 64));
    assert_eq!(
        (second, machine.wire().received.len()),
        (Progress::Idle, 100)
    );
}

#[test]
fn answers_follow_the_frames_they_belong_to_in_one_call() {
    let mut machine = Machine::new();
    machine.offer_buffer(0, 1526);
    machine.send_to_guest([frame(42, 1)]);
    machine.send(0, &frame(42, 0), &[]);

    machine.handle(TRANSMITTED);

    assert_eq!(machine.take_used().0[HEADER..], frame(42, 1));
}

#[test]
fn an_index_beyond_the_ring_breaks_the_device() {
    let mut machine = Machine::new();
    machine.tx.lie_about_index(300);

    let error = machine.try_handle(TRANSMITTED).unwrap_err();

    assert!(matches!(error, DeviceError::Queue { queue: 1, .. }));
}
