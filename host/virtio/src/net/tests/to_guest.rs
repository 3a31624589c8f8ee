//! Frames for the guest, into buffers that fit, that do not, and that are no buffers.

use virtio_bindings::virtio_net::VIRTIO_NET_F_MRG_RXBUF;
use virtio_queue::QueueT;

use super::guest::{HEADER, MAX_FRAME, MEMORY_BYTES, Machine, buffer, frame};
use crate::device::{DeviceError, Event, Progress};
use crate::mock_ring::{NEXT, WRITE};

/// The guest says that it added receive buffers.
const REFILLED: Event = Event::Queue(0);

/// The count of buffers in a frame's header.
fn count(bytes: &[u8]) -> u16 {
    u16::from_le_bytes([bytes[10], bytes[11]])
}

#[test]
fn a_frame_is_written_behind_a_header_into_one_buffer() {
    let mut machine = Machine::new();
    machine.offer_buffer(0, 4096);
    machine.send_to_guest([frame(1000, 1)]);

    machine.handle(Event::Host);

    let (bytes, lengths) = machine.take_used();
    assert_eq!(lengths, [1012]);
    assert_eq!((count(&bytes), &bytes[HEADER..]), (1, &frame(1000, 1)[..]));
    assert_eq!(machine.interrupts(0), 1);
}

#[test]
fn a_large_frame_is_spread_over_as_many_buffers_as_it_needs() {
    let mut machine = Machine::new();
    for index in 0..20 {
        machine.offer_buffer(index, 4096);
    }
    machine.send_to_guest([frame(MAX_FRAME, 9)]);

    machine.handle(Event::Host);

    let (bytes, lengths) = machine.take_used();
    let mut expected = vec![4096; 16];
    expected.push(14);
    assert_eq!(lengths, expected);
    assert_eq!(count(&bytes), 17);
    assert_eq!(bytes[HEADER..], frame(MAX_FRAME, 9));
    assert_eq!(machine.queues[0].next_avail(), 17);
}

#[test]
fn a_buffer_in_pieces_is_filled_across() {
    let mut machine = Machine::new();
    machine.rx.describe(0, buffer(0), 5, (WRITE | NEXT, 1));
    machine
        .rx
        .describe(1, buffer(0) + 5, 200, (WRITE | NEXT, 2));
    machine.rx.describe(2, buffer(0) + 205, 4000, (WRITE, 0));
    machine.rx.offer(0);
    machine.send_to_guest([frame(900, 4)]);

    machine.handle(Event::Host);

    assert_eq!(machine.take_used().0[HEADER..], frame(900, 4));
}

#[test]
fn frames_the_guest_has_no_buffers_for_stay_with_the_link() {
    let mut machine = Machine::new();
    machine.send_to_guest((0..5).map(|seed| frame(100, seed)));

    machine.handle(Event::Host);
    machine.handle(REFILLED);

    // One is in hand.
    assert_eq!(machine.wire().waiting.len(), 4);
    assert_eq!((machine.faults(), machine.interrupts(0)), (0, 0));
}

#[test]
fn frames_that_waited_come_in_their_order() {
    let mut machine = Machine::new();
    machine.send_to_guest((0..5).map(|seed| frame(100, seed)));
    machine.handle(Event::Host);
    assert!(!machine.rx.needs_kick());

    machine.offer_buffer(0, 1526);
    machine.offer_buffer(1, 1526);
    assert!(machine.rx.needs_kick());
    machine.handle(REFILLED);
    let first = machine.take_used().0;
    machine.offer_buffer(2, 1526);
    assert!(machine.rx.needs_kick());
    machine.handle(REFILLED);
    let second = machine.take_used().0;

    assert_eq!(first[HEADER..112], frame(100, 0));
    assert_eq!(first[112 + HEADER..], frame(100, 1));
    assert_eq!(second[HEADER..], frame(100, 2));
}

#[test]
fn too_few_buffers_go_back_and_the_guest_says_when_it_adds_one() {
    let mut machine = Machine::new();
    machine.offer_buffer(0, 4096);
    machine.offer_buffer(1, 4096);
    assert!(machine.rx.needs_kick());
    machine.send_to_guest([frame(10_000, 0)]);

    machine.handle(Event::Host);
    let before = machine.take_used();
    machine.offer_buffer(2, 4096);
    let kicked = machine.rx.needs_kick();
    machine.handle(REFILLED);

    assert_eq!(before, (Vec::new(), Vec::new()));
    assert!(kicked, "the guest was not asked to notify");
    assert_eq!(machine.take_used().0[HEADER..], frame(10_000, 0));
}

#[test]
fn a_driver_that_merges_no_buffers_gets_frames_that_fit_one() {
    let mut machine = Machine::with_features(!(1 << VIRTIO_NET_F_MRG_RXBUF));
    machine.offer_buffer(0, 1526);
    machine.offer_buffer(1, 1526);
    machine.send_to_guest([frame(3000, 0), frame(1514, 1)]);

    machine.handle(Event::Host);

    let (bytes, lengths) = machine.take_used();
    assert_eq!(lengths, [1526]);
    assert_eq!((count(&bytes), &bytes[HEADER..]), (1, &frame(1514, 1)[..]));
    assert_eq!(machine.faults(), 1);
}

#[test]
fn useless_buffers_are_given_back_empty() {
    let mut machine = Machine::new();
    machine.rx.describe(0, buffer(0), 1526, (0, 0));
    machine
        .rx
        .describe(1, MEMORY_BYTES as u64 - 8, 1526, (WRITE, 0));
    machine.rx.describe(2, buffer(2), 11, (WRITE, 0));
    machine.rx.describe(3, buffer(3), 100, (NEXT, 4));
    machine.rx.describe(4, buffer(4), 1526, (WRITE, 0));
    machine.rx.describe(5, buffer(5), 100, (WRITE | NEXT, 5));
    for head in [0, 1, 2, 3, 5] {
        machine.rx.offer(head);
    }
    machine.offer_buffer(6, 1526);
    machine.send_to_guest([frame(60, 0)]);

    machine.handle(Event::Host);

    let (bytes, lengths) = machine.take_used();
    assert_eq!(lengths, [0, 0, 0, 0, 0, 72]);
    assert_eq!(bytes[HEADER..], frame(60, 0));
    assert_eq!(machine.faults(), 5);
}

#[test]
fn a_useless_buffer_among_others_takes_them_along() {
    let mut machine = Machine::new();
    machine.offer_buffer(0, 1526);
    machine.rx.describe(1, buffer(1), 4, (WRITE, 0));
    machine.rx.offer(1);
    machine.offer_buffer(2, 1526);
    machine.offer_buffer(3, 1526);
    machine.send_to_guest([frame(2000, 0)]);

    machine.handle(Event::Host);

    let (bytes, lengths) = machine.take_used();
    assert_eq!(lengths, [0, 0, 1526, 486]);
    assert_eq!(bytes[HEADER..], frame(2000, 0));
}

#[test]
fn a_frame_that_a_full_ring_cannot_hold_is_dropped() {
    let mut machine = Machine::with_ring_size(u64::MAX, 16);
    for index in 0..16 {
        machine.offer_buffer(index, 1526);
    }
    machine.send_to_guest([frame(MAX_FRAME, 0), frame(60, 1)]);

    machine.handle(Event::Host);

    assert_eq!(machine.take_used().0[HEADER..], frame(60, 1));
    assert_eq!(machine.faults(), 1);
}

#[test]
fn a_frame_in_too_many_pieces_is_dropped() {
    let mut machine = Machine::new();
    for (head, last) in [(0, 85), (86, 171), (172, 255)] {
        for index in head..last {
            let link = (WRITE | NEXT, index + 1);
            machine.rx.describe(index, buffer(index), 16, link);
        }
        machine.rx.describe(last, buffer(last), 16, (WRITE, 0));
        machine.rx.offer(head);
    }
    machine.send_to_guest([frame(MAX_FRAME, 0), frame(60, 1)]);

    machine.handle(Event::Host);

    let lengths = machine.take_used().1;
    assert_eq!((lengths, machine.faults()), (vec![72], 1));
}

#[test]
fn a_guest_that_takes_endlessly_is_served_in_shares() {
    let mut machine = Machine::new();
    for index in 0..256 {
        machine.offer_buffer(index, 64);
    }
    // Each is found too large for the whole ring only after looking at all of it.
    machine.send_to_guest((0..5).map(|seed| frame(MAX_FRAME, seed)));

    let first = machine.try_handle(Event::Host).unwrap();
    let second = machine.try_handle(Event::Host).unwrap();

    assert_eq!((first, second), (Progress::More, Progress::Idle));
    assert_eq!(machine.faults(), 5);
}

#[test]
fn the_guest_is_not_interrupted_where_it_asked_not_to_be() {
    let mut machine = Machine::new();
    machine.offer_buffer(0, 1526);
    machine.offer_buffer(1, 1526);
    machine.send_to_guest([frame(60, 0)]);
    machine.handle(Event::Host);
    let first = machine.interrupts(0);
    // It has not looked at the first frame yet, so it waits for no other.
    machine.send_to_guest([frame(60, 1)]);
    machine.handle(Event::Host);
    let second = machine.interrupts(0);
    machine.take_used();
    machine.rx.enable_interrupts();
    machine.offer_buffer(2, 1526);
    machine.send_to_guest([frame(60, 2)]);
    machine.handle(Event::Host);

    assert_eq!((first, second, machine.interrupts(0)), (1, 1, 2));
}

#[test]
fn an_index_beyond_the_ring_breaks_the_device() {
    let mut machine = Machine::new();
    machine.send_to_guest([frame(60, 0)]);
    machine.rx.lie_about_index(300);

    let error = machine.try_handle(Event::Host).unwrap_err();

    assert!(matches!(error, DeviceError::Queue { queue: 0, .. }));
}

#[test]
fn a_head_beyond_the_table_breaks_the_device() {
    let mut machine = Machine::new();
    machine.send_to_guest([frame(60, 0)]);
    machine.rx.offer(256);

    let error = machine.try_handle(Event::Host).unwrap_err();

    assert!(matches!(error, DeviceError::Queue { queue: 0, .. }));
}
