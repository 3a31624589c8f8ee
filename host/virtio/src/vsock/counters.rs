//! What guests and clients did wrong, counted, and logged at a bounded rate.

use tracing::warn;

/// How often something was dropped or refused since the device was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets from the guest that broke the protocol: too short, wrong addresses, unknown
    /// operation, more payload than announced room.
    pub bad_packets: u64,
    /// Buffers from the guest that no packet fits in, or that lie outside its memory.
    pub bad_buffers: u64,
    /// Connections the guest asked for and was refused.
    pub refused_requests: u64,
    /// Resets not sent because too many were waiting for buffers.
    pub dropped_resets: u64,
    /// Clients that were refused, or left, before their connection was up.
    pub failed_dials: u64,
}

impl Counters {
    /// Counts a packet that broke the protocol.
    pub(super) fn bad_packet(&mut self, what: &'static str) {
        self.bad_packets += 1;
        report(self.bad_packets, what);
    }

    /// Counts a buffer that cannot be used.
    pub(super) fn bad_buffer(&mut self, what: &'static str) {
        self.bad_buffers += 1;
        report(self.bad_buffers, what);
    }

    /// Counts a refused connection request of the guest.
    pub(super) fn refused_request(&mut self, what: &'static str) {
        self.refused_requests += 1;
        report(self.refused_requests, what);
    }

    /// Counts a reset that found no room.
    pub(super) fn dropped_reset(&mut self) {
        self.dropped_resets += 1;
        report(self.dropped_resets, "too many resets wait for buffers");
    }

    /// Counts a client whose connection never came up.
    pub(super) fn failed_dial(&mut self) {
        self.failed_dials += 1;
    }
}

/// Logs the first, second, fourth, eighth … time: a guest cannot fill the log.
fn report(count: u64, what: &'static str) {
    if count.is_power_of_two() {
        warn!(count, "vsock: {what}");
    }
}
