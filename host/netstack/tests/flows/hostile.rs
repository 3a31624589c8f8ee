//! Whatever a guest sends, the stack stands.

use dhow_netstack::{Netstack, NetstackConfig};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::bench::{Bench, host, network};
use crate::guest::{Guest, gateway_mac};
use crate::packets::{query, udp};

/// Gives frames to a stack and takes what it says to them.
fn feed(frames: &[Vec<u8>]) -> Netstack {
    let (mut stack, control) = Netstack::new(NetstackConfig::default()).unwrap();
    control.apply(network(2, true));
    stack.poll().unwrap();
    let mut buffer = vec![0; 65_538];
    for frame in frames {
        stack.receive(frame);
        while let Some(length) = stack.transmit(&mut buffer) {
            assert!((18..=buffer.len()).contains(&length));
        }
    }
    stack.poll().unwrap();
    stack
}

/// A frame of the network with a random payload of each kind the stack reads.
fn plausible_frame() -> impl Strategy<Value = Vec<u8>> {
    let protocols = prop_oneof![Just(1_u8), Just(6), Just(17), Just(58), any::<u8>()];
    let ports = prop_oneof![Just(53_u16), any::<u16>()];
    (any::<bool>(), protocols, ports, vec(any::<u8>(), 0..200)).prop_map(
        |(six, protocol, port, mut payload)| {
            let guest = Guest::new(2, 2);
            if payload.len() >= 4 {
                payload[2..4].copy_from_slice(&port.to_be_bytes());
            }
            let gateway = if six { "fd00:2::1" } else { "10.2.0.1" };
            let packet = guest.packet(gateway.parse().unwrap(), protocol, &payload);
            guest.frame(&packet)
        },
    )
}

proptest! {
    #[test]
    fn random_bytes_never_panic(frames in vec(vec(any::<u8>(), 0..200), 0..20)) {
        feed(&frames);
    }

    #[test]
    fn random_packets_never_panic(frames in vec(plausible_frame(), 0..20)) {
        feed(&frames);
    }

    #[test]
    fn a_cut_or_bent_datagram_never_panics(
        cut in 0_usize..80,
        at in 0_usize..80,
        byte in any::<u8>(),
        question in vec(any::<u8>(), 0..40),
    ) {
        let guest = Guest::new(2, 2);
        let message = [query(1, "web", 1), question].concat();
        let mut frame = guest.frame(&udp(&guest, 5_000, host(53), &message));
        let index = at % frame.len();
        frame[index] = byte;
        let length = frame.len().saturating_sub(cut);
        feed(&[frame[..length].to_vec()]);
    }
}

#[test]
fn frames_that_are_none_of_ours_are_counted_and_dropped() {
    let mut bench = Bench::new();
    let guest = Guest::new(9, 2);
    let unknown_network = guest.frame(&udp(&guest, 1, host(53), b""));
    let for_another = bench
        .guest()
        .frame_of([2, 0, 0, 0, 0, 9], 0x0800, &[0x45; 40]);

    bench.stack.receive(&unknown_network);
    bench.stack.receive(&for_another);
    bench.stack.receive(&[0; 5]);
    bench.round();

    assert_eq!(bench.control.counters().frames_malformed, 3);
}

#[test]
fn a_wrong_checksum_is_no_packet() {
    let mut bench = Bench::new();
    let mut packet = udp(bench.guest(), 5_000, host(53), &query(1, "web", 1));
    *packet.last_mut().unwrap() ^= 1;

    bench.send(&packet);
    bench.round();

    assert_eq!(bench.control.counters().packets_malformed, 1);
}

#[test]
fn a_guest_that_asks_and_does_not_read_costs_a_bounded_outbox() {
    let mut bench = Bench::new();
    let guest = bench.guest();
    let mut request = vec![0, 1, 8, 0, 6, 4, 0, 1];
    request.extend_from_slice(&[0; 16]);
    request.extend_from_slice(&[10, 2, 0, 1]);
    let frame = guest.frame_of(gateway_mac(2), 0x0806, &request);

    for _ in 0..10_000 {
        bench.stack.receive(&frame);
    }
    bench.stack.reset();
    bench.round();

    assert!(bench.control.counters().outbox_overflows > 5_000);
}
