//! What precedes each frame on the rings (virtio 1.2, section 5.1.6).

use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_net::{
    VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_HDR_F_DATA_VALID,
};

/// A header with its count of buffers.
pub(super) const MAX_HEADER_BYTES: usize = 12;

/// A header as before virtio 1.0, without a count.
const LEGACY_HEADER_BYTES: usize = 10;

/// Where the count of buffers is.
const BUFFERS_OFFSET: usize = 10;

/// The form of headers that device and driver agreed on.
///
/// Headers of the guest only say where a checksum belongs that the link does not look at; they are
/// skipped unread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Headers {
    length: usize,
    mergeable: bool,
    flags: u8,
}

impl Headers {
    /// The form that goes with these features.
    pub(super) fn agreed(features: u64) -> Self {
        let has = |bit: u32| features & 1 << bit != 0;
        let counted = has(VIRTIO_F_VERSION_1) || has(VIRTIO_NET_F_MRG_RXBUF);
        let [valid, ..] = VIRTIO_NET_HDR_F_DATA_VALID.to_le_bytes();
        Self {
            length: if counted {
                MAX_HEADER_BYTES
            } else {
                LEGACY_HEADER_BYTES
            },
            mergeable: has(VIRTIO_NET_F_MRG_RXBUF),
            flags: if has(VIRTIO_NET_F_GUEST_CSUM) {
                valid
            } else {
                0
            },
        }
    }

    /// Bytes of a header.
    pub(super) fn length(self) -> usize {
        self.length
    }

    /// Whether a frame for the guest may be spread over several of its buffers.
    pub(super) fn mergeable(self) -> bool {
        self.mergeable
    }

    /// The header of a frame for the guest that takes so many buffers; the first
    /// [`length`](Self::length) bytes of it.
    pub(super) fn to_guest(self, buffers: u16) -> [u8; MAX_HEADER_BYTES] {
        let mut bytes = [0; MAX_HEADER_BYTES];
        bytes[0] = self.flags;
        bytes[BUFFERS_OFFSET..].copy_from_slice(&buffers.to_le_bytes());
        bytes
    }
}
