//! Who is asked for, and who answers.

use crate::bench::Bench;
use crate::guest::gateway_mac;

/// An ARP request of the guest for an address.
fn arp_request(bench: &mut Bench, wanted: [u8; 4]) -> Vec<u8> {
    let guest = bench.guest();
    let mut request = vec![0, 1, 8, 0, 6, 4, 0, 1];
    request.extend_from_slice(&guest.mac);
    request.extend_from_slice(&[10, 2, 0, 2, 0, 0, 0, 0, 0, 0]);
    request.extend_from_slice(&wanted);
    guest.frame_of([0xff; 6], 0x0806, &request)
}

#[test]
fn the_gateway_answers_arp_for_itself() {
    let mut bench = Bench::new();
    let request = arp_request(&mut bench, [10, 2, 0, 1]);

    bench.stack.receive(&request);
    bench.round();

    let reply = bench.guest().frames.pop_front().unwrap();
    assert_eq!(reply[6..12], gateway_mac(2));
    assert_eq!(
        reply[18 + 8..18 + 18],
        [&gateway_mac(2)[..], &[10, 2, 0, 1]].concat()
    );
}

#[test]
fn nobody_answers_arp_for_another_address() {
    let mut bench = Bench::new();
    let request = arp_request(&mut bench, [10, 2, 0, 9]);

    bench.stack.receive(&request);
    bench.round();

    assert!(bench.guest().frames.is_empty());
}
