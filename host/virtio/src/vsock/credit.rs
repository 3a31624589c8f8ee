//! Who may still send how much: credit in both directions, in bytes and in packets.
//!
//! [`SendCredit`] meters what the device sends to the guest, [`ReceiveCredit`] what the guest sends
//! to the device. All counters wrap at 32 bits as the ones on the ring do; only differences count.

use std::collections::VecDeque;
use std::num::Wrapping;

/// Receive buffer the device promises each connection: the most a guest can make us hold for one.
///
/// Linux's default for its own sockets, which also caps what it sends.
pub(super) const RECEIVE_BUFFER_BYTES: u32 = 256 * 1024;

/// Guest memory a queued packet costs beyond its payload, rounded up.
///
/// Linux refuses a packet, and resets the connection with `ENOBUFS`, when the packets it has queued
/// times `SKB_TRUESIZE(0)` exceed the socket's buffer size, whatever byte credit is left (the
/// mitigation of CVE-2026-23086, in 6.12 since 6.12.92). That size is 576 on x86-64 and grows with
/// debugging options and cache lines.
const PACKET_OVERHEAD_BYTES: u32 = 1024;

/// The most packets in flight to one connection however large a buffer the guest announces, so that
/// the list of them stays small.
pub(super) const MAX_PACKETS_IN_FLIGHT: usize = 1024;

/// What may be sent to the guest on one connection.
#[derive(Debug, Default)]
pub(super) struct SendCredit {
    /// Size of the guest socket's buffer, as last announced.
    peer_buffer_bytes: u32,
    /// Bytes the guest took out of that buffer, as last announced.
    peer_forwarded: Wrapping<u32>,
    /// Bytes sent so far.
    sent: Wrapping<u32>,
    /// The value of `sent` after each packet that may still lie in the guest's buffer.
    packet_ends: VecDeque<Wrapping<u32>>,
}

impl SendCredit {
    /// Takes the credit fields that every packet from the guest carries.
    ///
    /// A count that goes backwards or claims bytes never sent is ignored: the first may come of two
    /// guest threads that overtake each other, the second gains nothing but its own confusion.
    pub(super) fn update(&mut self, peer_buffer_bytes: u32, peer_forwarded: u32) {
        self.peer_buffer_bytes = peer_buffer_bytes;
        let in_flight = self.sent - Wrapping(peer_forwarded);
        if in_flight > self.in_flight() {
            return;
        }
        self.peer_forwarded = Wrapping(peer_forwarded);
        while let Some(end) = self.packet_ends.front() {
            if self.sent - *end < in_flight {
                break;
            }
            self.packet_ends.pop_front();
        }
    }

    /// Bytes that may be sent now, as far as the guest's buffer goes.
    pub(super) fn bytes(&self) -> usize {
        let free = self.peer_buffer_bytes.saturating_sub(self.in_flight().0);
        usize::try_from(free).expect("32 bits fit usize on every host served")
    }

    /// Packets that may be sent now.
    pub(super) fn packets(&self) -> usize {
        let bound = usize::try_from(self.peer_buffer_bytes / PACKET_OVERHEAD_BYTES)
            .expect("32 bits fit usize on every host served")
            .clamp(1, MAX_PACKETS_IN_FLIGHT);
        bound.saturating_sub(self.packet_ends.len())
    }

    /// Whether a packet with payload may be sent now.
    pub(super) fn has_room(&self) -> bool {
        self.bytes() > 0 && self.packets() > 0
    }

    /// Counts one packet with `length` bytes of payload as sent.
    pub(super) fn spend(&mut self, length: u32) {
        self.sent += length;
        self.packet_ends.push_back(self.sent);
    }

    fn in_flight(&self) -> Wrapping<u32> {
        self.sent - self.peer_forwarded
    }
}

/// What the guest may send on one connection, and what it knows of that.
#[derive(Debug, Default)]
pub(super) struct ReceiveCredit {
    /// Bytes received so far.
    received: Wrapping<u32>,
    /// Bytes handed on to the host socket, or discarded, so far.
    forwarded: Wrapping<u32>,
    /// The value of `forwarded` that the guest was told last.
    announced: Wrapping<u32>,
}

impl ReceiveCredit {
    /// Counts `length` bytes as received; `false`, and nothing counted, where they were more than
    /// the guest may send.
    pub(super) fn receive(&mut self, length: u32) -> bool {
        let held = (self.received - self.forwarded).0;
        if length > RECEIVE_BUFFER_BYTES - held {
            return false;
        }
        self.received += length;
        true
    }

    /// Counts `length` received bytes as handed on.
    pub(super) fn forward(&mut self, length: usize) {
        let length = u32::try_from(length).expect("no more is forwarded than the buffer holds");
        self.forwarded += length;
    }

    /// The count for the next packet's header; the guest knows it from then on.
    pub(super) fn announce(&mut self) -> u32 {
        self.announced = self.forwarded;
        self.announced.0
    }

    /// Whether the guest believes less than half the buffer free though more is.
    ///
    /// At half, an update is on its way before the sender stalls and costs one packet for every
    /// 128 KiB.
    pub(super) fn update_is_due(&self) -> bool {
        let believed_used = (self.received - self.announced).0;
        self.forwarded != self.announced && believed_used > RECEIVE_BUFFER_BYTES / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL_BUFFER_BYTES: u32 = 4 * PACKET_OVERHEAD_BYTES;

    fn send_credit(buffer_bytes: u32) -> SendCredit {
        let mut credit = SendCredit::default();
        credit.update(buffer_bytes, 0);
        credit
    }

    #[test]
    fn bytes_are_spent_and_come_back() {
        let mut credit = send_credit(SMALL_BUFFER_BYTES);

        credit.spend(4000);
        let spent = credit.bytes();
        credit.update(SMALL_BUFFER_BYTES, 4000);

        assert_eq!(spent, 96);
        assert_eq!(credit.bytes(), 4096);
    }

    #[test]
    fn small_packets_run_out_before_bytes_do() {
        let mut credit = send_credit(SMALL_BUFFER_BYTES);

        credit.spend(1);
        credit.spend(1);
        credit.spend(1);
        credit.spend(1);

        assert_eq!(credit.packets(), 0);
        assert_eq!(credit.bytes(), 4092);
        assert!(!credit.has_room());
    }

    #[test]
    fn a_packet_retires_only_when_all_of_it_is_forwarded() {
        let mut credit = send_credit(SMALL_BUFFER_BYTES);
        credit.spend(10);
        credit.spend(10);

        credit.update(SMALL_BUFFER_BYTES, 19);
        let after_a_part = credit.packets();
        credit.update(SMALL_BUFFER_BYTES, 20);

        assert_eq!(after_a_part, 3);
        assert_eq!(credit.packets(), 4);
    }

    #[test]
    fn counts_from_the_future_or_the_past_are_ignored() {
        let mut credit = send_credit(SMALL_BUFFER_BYTES);
        credit.spend(10);
        credit.update(SMALL_BUFFER_BYTES, 5);

        credit.update(SMALL_BUFFER_BYTES, 11);
        credit.update(SMALL_BUFFER_BYTES, 4);

        assert_eq!(credit.bytes(), 4091);
    }

    #[test]
    fn a_shrunken_buffer_leaves_no_room() {
        let mut credit = send_credit(SMALL_BUFFER_BYTES);
        credit.spend(4096);

        credit.update(10, 0);

        assert_eq!(credit.bytes(), 0);
    }

    #[test]
    fn credit_survives_the_wrap_of_its_counters() {
        let mut credit = send_credit(SMALL_BUFFER_BYTES);
        credit.sent = Wrapping(u32::MAX - 1);
        credit.peer_forwarded = Wrapping(u32::MAX - 1);

        credit.spend(4);
        let spent = credit.bytes();
        credit.update(SMALL_BUFFER_BYTES, 2);

        assert_eq!(spent, 4092);
        assert_eq!(credit.bytes(), 4096);
        assert_eq!(credit.packets(), 4);
    }

    #[test]
    fn a_guest_that_sends_too_much_is_found_out() {
        let mut credit = ReceiveCredit::default();

        assert!(credit.receive(RECEIVE_BUFFER_BYTES));
        assert!(!credit.receive(1));
        credit.forward(1);
        assert!(credit.receive(1));
    }

    #[test]
    fn an_update_is_due_once_the_guest_sees_half_the_buffer_used() {
        let mut credit = ReceiveCredit::default();
        credit.receive(RECEIVE_BUFFER_BYTES / 2 + 1);
        let before_forwarding = credit.update_is_due();

        credit.forward(1);
        let after_forwarding = credit.update_is_due();
        credit.announce();

        assert!(!before_forwarding);
        assert!(after_forwarding);
        assert!(!credit.update_is_due());
    }
}
