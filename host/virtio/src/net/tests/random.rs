//! Random frames, buffers and chains: nothing is lost or mixed up, and nothing breaks the device.

use proptest::prelude::*;

use super::guest::{HEADER, Machine, buffer, frame};
use crate::device::Event;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_frame_arrives_whole_and_in_order_whatever_the_buffers(
        lengths in proptest::collection::vec(14_usize..20_000, 1..12),
        rooms in proptest::collection::vec(1500_u32..9000, 100),
    ) {
        let mut machine = Machine::new();
        machine.send_to_guest(lengths.iter().map(|length| frame(*length, *length)));
        let mut received = Vec::new();

        for (index, room) in (0_u16..).zip(rooms) {
            machine.offer_buffer(index, room);
            machine.handle(Event::Queue(0));
            let mut bytes = machine.take_used().0;
            if !bytes.is_empty() {
                received.push(bytes.split_off(HEADER));
            }
        }

        let expected: Vec<_> = lengths.iter().map(|length| frame(*length, *length)).collect();
        let count = received.len();
        prop_assert_eq!(&received[..], &expected[..count]);
        // No frame needs more than 14 of these buffers.
        prop_assert!(count >= 7.min(lengths.len()));
    }

    #[test]
    fn no_chain_makes_the_device_fail(
        descriptors in proptest::collection::vec(
            (0_u64..80 << 20, 0_u32..100_000, 0_u16..4, 0_u16..40), 1..40),
        heads in proptest::collection::vec(0_u16..40, 1..40),
    ) {
        let mut machine = Machine::new();
        for (index, (address, length, flags, next)) in (0_u16..).zip(descriptors) {
            // Clear of the rings, which a guest may overwrite to its own harm.
            let address = address + buffer(0);
            machine.rx.describe(index, address, length, (flags, next));
            machine.tx.describe(index, address, length, (flags, next));
        }
        for head in heads {
            machine.rx.offer(head);
            machine.tx.offer(head);
        }
        machine.send_to_guest((0..10).map(|seed| frame(30_000, seed)));

        machine.handle(Event::Queue(1));
        machine.handle(Event::Queue(0));
        machine.handle(Event::Host);

        prop_assert!(machine.wire().received.iter().all(|frame| frame.len() >= 14));
    }
}
