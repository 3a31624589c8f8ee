//! What the guest learns of its interface, and what the link learns of the guest.

use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_net::{
    VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_MRG_RXBUF,
};

use super::super::Checksums;
use super::guest::{MAC, MTU, Machine, frame};
use crate::device::{Event, VirtioDevice};

#[test]
fn tells_the_guest_its_address_and_mtu() {
    let machine = Machine::new();
    let mut config = [0xff; 16];

    machine.device.read_config(0, &mut config);

    assert_eq!(config[..6], MAC);
    assert_eq!(config[10..12], MTU.to_le_bytes());
    assert_eq!(config[12..], [0; 4]);
}

#[test]
fn its_configuration_is_not_the_guests_to_change() {
    let mut machine = Machine::new();
    let mut config = [0; 6];

    machine.device.write_config(0, &[9; 12]);
    machine.device.read_config(0, &mut config);

    assert_eq!(config, MAC);
}

#[test]
fn reads_beyond_the_configuration_are_zeroes() {
    let machine = Machine::new();
    let mut config = [0xff; 4];

    machine.device.read_config(u64::MAX, &mut config);

    assert_eq!(config, [0; 4]);
}

#[test]
fn the_link_learns_which_checksums_the_guest_leaves_out() {
    let none = Machine::with_features(!(1 << VIRTIO_NET_F_CSUM | 1 << VIRTIO_NET_F_GUEST_CSUM));
    let both = Machine::new();

    assert_eq!(
        none.wire().agreed,
        [Checksums {
            whole_from_guest: true,
            checked_by_guest: true
        }]
    );
    assert_eq!(
        both.wire().agreed,
        [Checksums {
            whole_from_guest: false,
            checked_by_guest: false
        }]
    );
}

#[test]
fn frames_are_marked_as_valid_only_where_the_guest_agreed() {
    let mut agreed = Machine::new();
    let mut refused = Machine::with_features(!(1 << VIRTIO_NET_F_GUEST_CSUM));
    for machine in [&mut agreed, &mut refused] {
        machine.send_to_guest([frame(60, 0)]);
        machine.offer_buffer(0, 1526);
        machine.handle(Event::Host);
    }

    assert_eq!(agreed.take_used().0[..2], [2, 0]);
    assert_eq!(refused.take_used().0[..2], [0, 0]);
}

#[test]
fn a_driver_older_than_version_one_gets_and_sends_short_headers() {
    let old = !(1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_NET_F_MRG_RXBUF);
    let mut machine = Machine::with_features(old);
    machine.send_to_guest([frame(60, 0)]);
    machine.offer_buffer(0, 1526);
    machine.send(0, &frame(60, 7), &[]);

    machine.handle(Event::Queue(1));

    let (bytes, lengths) = machine.take_used();
    assert_eq!(lengths, [70]);
    assert_eq!(bytes[10..], frame(60, 0));
    // The test's header is two bytes longer than this driver's would be.
    assert_eq!(
        machine.wire().received,
        [[vec![0, 0], frame(60, 7)].concat()]
    );
}

#[test]
fn a_reset_forgets_the_frame_in_hand_and_every_flow() {
    let mut machine = Machine::new();
    machine.send_to_guest([frame(100, 0), frame(100, 1)]);
    machine.handle(Event::Host);

    machine.device.reset();
    machine.device.activate(machine.device.features());
    machine.offer_buffer(0, 1526);
    machine.send_to_guest([frame(100, 2)]);
    machine.handle(Event::Queue(0));

    assert_eq!(machine.wire().resets, 1);
    assert_eq!(machine.wire().agreed.len(), 2);
    assert_eq!(machine.take_used().0[12..], frame(100, 2));
}

#[test]
fn a_link_that_fails_breaks_the_device() {
    let mut machine = Machine::new();
    machine.wire().broken = true;

    let error = machine.try_handle(Event::Host).unwrap_err();

    assert_eq!(error.to_string(), "failed to serve the guest's network");
}

#[test]
fn the_link_is_polled_for_its_own_events_alone() {
    let mut machine = Machine::new();

    machine.handle(Event::Queue(0));
    machine.handle(Event::Queue(1));
    machine.handle(Event::Host);

    assert_eq!(machine.wire().polls, 1);
}
