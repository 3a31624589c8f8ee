//! The register file against an orderly driver, a hostile one, and every other one.

use proptest::prelude::*;
use virtio_bindings::virtio_mmio as offsets;
use vm_memory::GuestAddress;

use super::*;

const EVENT_INDEX: u64 = 1 << VIRTIO_RING_F_EVENT_IDX;
/// A device feature of no meaning here.
const FEATURE: u64 = 1 << 5;

fn memory() -> GuestMemoryMmap {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap()
}

fn registers() -> Registers {
    Registers::new(4, FEATURE | EVENT_INDEX, &[256, 8]).unwrap()
}

/// Writes registers in order.
fn write_all(registers: &mut Registers, writes: &[(u32, u32)]) {
    let memory = memory();
    for (offset, value) in writes {
        let _effect = registers.write(&memory, *offset, *value);
    }
}

/// A driver that has settled features and now may set up queues.
fn negotiated() -> Registers {
    let mut registers = registers();
    write_all(
        &mut registers,
        &[
            (offsets::VIRTIO_MMIO_STATUS, 1),
            (offsets::VIRTIO_MMIO_STATUS, 3),
            (offsets::VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1),
            (offsets::VIRTIO_MMIO_DRIVER_FEATURES, 1),
            (offsets::VIRTIO_MMIO_STATUS, 0xb),
        ],
    );
    registers
}

/// A driver that has set up queue 0.
fn set_up() -> Registers {
    let mut registers = negotiated();
    write_all(
        &mut registers,
        &[
            (offsets::VIRTIO_MMIO_QUEUE_SEL, 0),
            (offsets::VIRTIO_MMIO_QUEUE_NUM, 16),
            (offsets::VIRTIO_MMIO_QUEUE_DESC_LOW, 0x1000),
            (offsets::VIRTIO_MMIO_QUEUE_AVAIL_LOW, 0x2000),
            (offsets::VIRTIO_MMIO_QUEUE_USED_LOW, 0x3000),
            (offsets::VIRTIO_MMIO_QUEUE_READY, 1),
        ],
    );
    registers
}

fn live() -> Registers {
    let mut registers = set_up();
    write_all(&mut registers, &[(offsets::VIRTIO_MMIO_STATUS, 0xf)]);
    registers
}

#[test]
fn says_what_it_is() {
    let mut registers = registers();

    assert_eq!(
        registers.read(offsets::VIRTIO_MMIO_MAGIC_VALUE),
        0x7472_6976
    );
    assert_eq!(registers.read(offsets::VIRTIO_MMIO_VERSION), 2);
    assert_eq!(registers.read(offsets::VIRTIO_MMIO_DEVICE_ID), 4);
    assert_eq!(registers.read(offsets::VIRTIO_MMIO_QUEUE_NUM_MAX), 256);
}

#[test]
fn offers_its_features_with_virtio_1() {
    let mut registers = registers();

    let low = registers.read(offsets::VIRTIO_MMIO_DEVICE_FEATURES);
    write_all(
        &mut registers,
        &[(offsets::VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1)],
    );
    let high = registers.read(offsets::VIRTIO_MMIO_DEVICE_FEATURES);

    assert_eq!((u64::from(low), high), (FEATURE | EVENT_INDEX, 1));
}

#[test]
fn starts_a_device_whose_driver_took_every_step() {
    let mut registers = set_up();

    let effect = registers.write(&memory(), offsets::VIRTIO_MMIO_STATUS, 0xf);

    assert_eq!(
        effect,
        Effect::Activate {
            features: VERSION_1
        }
    );
    assert!(registers.queues()[0].ready());
    assert_eq!(registers.refused(), 0);
}

#[test]
fn refuses_to_start_a_device_whose_driver_left_steps_out() {
    let mut registers = registers();

    let effect = registers.write(&memory(), offsets::VIRTIO_MMIO_STATUS, 0xf);

    assert_eq!((effect, registers.phase()), (Effect::None, Phase::Reset));
    assert_eq!(registers.refused(), 1);
}

#[test]
fn refuses_features_that_were_not_offered() {
    let mut registers = registers();

    write_all(
        &mut registers,
        &[
            (offsets::VIRTIO_MMIO_STATUS, 1),
            (offsets::VIRTIO_MMIO_STATUS, 3),
            (offsets::VIRTIO_MMIO_DRIVER_FEATURES, 1 << 7),
            (offsets::VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1),
            (offsets::VIRTIO_MMIO_DRIVER_FEATURES, 1),
            (offsets::VIRTIO_MMIO_STATUS, 0xb),
        ],
    );

    assert_eq!(registers.read(offsets::VIRTIO_MMIO_STATUS), 3);
}

#[test]
fn refuses_a_driver_older_than_virtio_1() {
    let mut registers = registers();

    write_all(&mut registers, &[(0x70, 1), (0x70, 3), (0x70, 0xb)]);

    assert_eq!(registers.phase(), Phase::Driver);
}

// CVE-2026-5747: a queue rewritten under a running device.
#[test]
fn keeps_a_running_devices_queues_as_they_are() {
    let mut registers = live();
    let before = registers.queues()[0].state();

    write_all(
        &mut registers,
        &[
            (offsets::VIRTIO_MMIO_QUEUE_SEL, 0),
            (offsets::VIRTIO_MMIO_QUEUE_NUM, 256),
            (offsets::VIRTIO_MMIO_QUEUE_DESC_LOW, 0xdead_0000),
            (offsets::VIRTIO_MMIO_QUEUE_AVAIL_HIGH, 1),
            (offsets::VIRTIO_MMIO_QUEUE_USED_LOW, 0),
            (offsets::VIRTIO_MMIO_QUEUE_READY, 0),
        ],
    );

    assert_eq!(registers.queues()[0].state(), before);
    assert_eq!(registers.refused(), 5);
}

#[test]
fn keeps_a_ready_queue_as_it_is_before_the_start() {
    let mut registers = set_up();
    let before = registers.queues()[0].state();

    write_all(
        &mut registers,
        &[(offsets::VIRTIO_MMIO_QUEUE_DESC_LOW, 0x8000)],
    );

    assert_eq!(registers.queues()[0].state(), before);
    assert_eq!(registers.refused(), 1);
}

#[test]
fn keeps_features_as_they_were_settled() {
    let mut registers = live();

    write_all(
        &mut registers,
        &[
            (offsets::VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0),
            (offsets::VIRTIO_MMIO_DRIVER_FEATURES, u32::MAX),
        ],
    );

    assert_eq!(registers.taken, VERSION_1);
}

#[test]
fn never_calls_a_queue_ready_whose_rings_lie_outside_memory() {
    let mut registers = negotiated();

    write_all(
        &mut registers,
        &[
            (offsets::VIRTIO_MMIO_QUEUE_NUM, 16),
            (offsets::VIRTIO_MMIO_QUEUE_DESC_HIGH, 0xffff_ffff),
            (offsets::VIRTIO_MMIO_QUEUE_READY, 1),
        ],
    );

    assert_eq!(registers.read(offsets::VIRTIO_MMIO_QUEUE_READY), 0);
}

#[test]
fn refuses_a_queue_larger_than_its_most() {
    let mut registers = negotiated();

    write_all(
        &mut registers,
        &[
            (offsets::VIRTIO_MMIO_QUEUE_SEL, 1),
            (offsets::VIRTIO_MMIO_QUEUE_NUM, 16),
            (offsets::VIRTIO_MMIO_QUEUE_NUM, 0x1_0008),
        ],
    );

    assert_eq!(registers.queues()[1].size(), 8);
    assert_eq!(registers.refused(), 2);
}

#[test]
fn forgets_everything_on_reset() {
    let mut registers = live();

    let effect = registers.write(&memory(), offsets::VIRTIO_MMIO_STATUS, 0);

    assert_eq!(effect, Effect::Reset { was_active: true });
    assert_eq!(registers.phase(), Phase::Reset);
    assert!(!registers.queues()[0].ready());
}

#[test]
fn says_that_a_broken_device_needs_a_reset() {
    let mut registers = live();

    registers.break_down();

    assert_eq!(registers.read(offsets::VIRTIO_MMIO_STATUS), 0x4f);
}

#[test]
fn lets_a_driver_give_up() {
    let mut registers = negotiated();

    write_all(&mut registers, &[(offsets::VIRTIO_MMIO_STATUS, 0x8b)]);

    assert_eq!(registers.phase(), Phase::Failed { from: 0xb });
}

proptest! {
    #[test]
    fn stands_any_sequence_of_accesses(
        accesses in proptest::collection::vec(
            (any::<bool>(), (0u32..0x42).prop_map(|word| word * 4), value()),
            0..200,
        )
    ) {
        let memory = memory();
        let mut registers = registers();
        for (is_write, offset, value) in accesses {
            let live = registers.phase() == Phase::Live;
            let before = registers.queues()[0].state();
            let effect = if is_write {
                registers.write(&memory, offset, value)
            } else {
                registers.read(offset);
                Effect::None
            };
            // A running device's queues change by a reset and in no other way.
            let reset = matches!(effect, Effect::Reset { .. });
            prop_assert!(!live || reset || registers.queues()[0].state() == before);
            // It starts with what was offered, and nothing else.
            if let Effect::Activate { features } = effect {
                prop_assert_eq!(features & !(FEATURE | EVENT_INDEX | VERSION_1), 0);
                prop_assert!(features & VERSION_1 != 0);
            }
            // A queue is ready only with rings inside memory.
            for queue in registers.queues() {
                prop_assert!(!queue.ready() || queue.is_valid(&memory));
            }
        }
    }
}

/// Values that drivers write, and any others.
fn value() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(3),
        Just(0xb),
        Just(0xf),
        Just(16),
        Just(0x1000),
        any::<u32>(),
    ]
}
