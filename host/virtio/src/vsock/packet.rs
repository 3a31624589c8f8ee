//! The 44-byte header in front of every vsock packet (virtio 1.2, section 5.10.6).
//!
//! A header is read from guest memory exactly once, into [`Header`], and judged there: the guest
//! may change its memory while we look, so nothing is ever read a second time.

/// Bytes of a packet's header on the ring.
pub(super) const HEADER_BYTES: usize = 44;

/// The host's well-known context identifier (`VMADDR_CID_HOST`).
pub(super) const HOST_CID: u64 = 2;

/// The port that stands for "any" (`VMADDR_PORT_ANY`) and so never names an end of a connection.
pub(super) const ANY_PORT: u32 = u32::MAX;

/// `VIRTIO_VSOCK_TYPE_STREAM`: the one socket type served.
pub(super) const TYPE_STREAM: u16 = 1;

/// `VIRTIO_VSOCK_SHUTDOWN_RCV`: the sender of the packet will receive no more.
pub(super) const SHUTDOWN_RECEIVE: u32 = 1;

/// `VIRTIO_VSOCK_SHUTDOWN_SEND`: the sender of the packet will send no more.
pub(super) const SHUTDOWN_SEND: u32 = 2;

/// Both directions at once.
pub(super) const SHUTDOWN_BOTH: u32 = SHUTDOWN_RECEIVE | SHUTDOWN_SEND;

/// What a packet asks for (`enum virtio_vsock_op`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Operation {
    /// Open a connection.
    Request = 1,
    /// The connection is open.
    Response = 2,
    /// The connection is gone, or never was.
    Reset = 3,
    /// The sender will send or receive no more, as the flags say.
    Shutdown = 4,
    /// Payload.
    ReadWrite = 5,
    /// The credit fields are news.
    CreditUpdate = 6,
    /// Please send a credit update.
    CreditRequest = 7,
}

impl Operation {
    /// The operation of this number, or `None` where the specification knows none.
    fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Request,
            2 => Self::Response,
            3 => Self::Reset,
            4 => Self::Shutdown,
            5 => Self::ReadWrite,
            6 => Self::CreditUpdate,
            7 => Self::CreditRequest,
            _ => return None,
        })
    }
}

/// A packet's header, in host byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) source_cid: u64,
    pub(super) destination_cid: u64,
    pub(super) source_port: u32,
    pub(super) destination_port: u32,
    /// Payload bytes behind the header.
    pub(super) length: u32,
    /// Socket type, [`TYPE_STREAM`] or another.
    pub(super) socket_type: u16,
    /// Number of the [`Operation`].
    pub(super) operation: u16,
    pub(super) flags: u32,
    /// Size of the sender's receive buffer (`buf_alloc`).
    pub(super) buffer_bytes: u32,
    /// Bytes the sender has taken out of that buffer so far, wrapping (`fwd_cnt`).
    pub(super) forwarded: u32,
}

impl Header {
    /// Reads a header as it lies on the ring.
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES]) -> Self {
        Self {
            source_cid: u64::from_le_bytes(field(bytes, 0)),
            destination_cid: u64::from_le_bytes(field(bytes, 8)),
            source_port: u32::from_le_bytes(field(bytes, 16)),
            destination_port: u32::from_le_bytes(field(bytes, 20)),
            length: u32::from_le_bytes(field(bytes, 24)),
            socket_type: u16::from_le_bytes(field(bytes, 28)),
            operation: u16::from_le_bytes(field(bytes, 30)),
            flags: u32::from_le_bytes(field(bytes, 32)),
            buffer_bytes: u32::from_le_bytes(field(bytes, 36)),
            forwarded: u32::from_le_bytes(field(bytes, 40)),
        }
    }

    /// Lays the header out as it goes on the ring.
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&self.source_cid.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.destination_cid.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.source_port.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.destination_port.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.length.to_le_bytes());
        bytes[28..30].copy_from_slice(&self.socket_type.to_le_bytes());
        bytes[30..32].copy_from_slice(&self.operation.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.flags.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.buffer_bytes.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.forwarded.to_le_bytes());
        bytes
    }

    /// What the packet asks for, or `None` where the number means nothing.
    pub(super) fn operation(&self) -> Option<Operation> {
        Operation::from_number(self.operation)
    }
}

/// The `N` bytes of a header's field at `offset`.
fn field<const N: usize>(bytes: &[u8; HEADER_BYTES], offset: usize) -> [u8; N] {
    bytes[offset..offset + N]
        .try_into()
        .expect("a field lies inside the header")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_ring() {
        let header = Header {
            source_cid: 0x0102_0304_0506_0708,
            destination_cid: HOST_CID,
            source_port: 0x1112_1314,
            destination_port: 0x2122_2324,
            length: 0x3132_3334,
            socket_type: TYPE_STREAM,
            operation: Operation::ReadWrite as u16,
            flags: 0x4142_4344,
            buffer_bytes: 0x5152_5354,
            forwarded: 0x6162_6364,
        };

        let read_back = Header::parse(&header.encode());

        assert_eq!(read_back, header);
    }

    #[test]
    fn fields_lie_where_the_specification_puts_them() {
        let mut bytes = [0; HEADER_BYTES];
        bytes[8] = 2;
        bytes[24] = 7;
        bytes[28] = 1;
        bytes[30] = 5;

        let header = Header::parse(&bytes);

        assert_eq!(header.destination_cid, HOST_CID);
        assert_eq!(header.length, 7);
        assert_eq!(header.socket_type, TYPE_STREAM);
        assert_eq!(header.operation(), Some(Operation::ReadWrite));
    }

    #[test]
    fn operations_outside_the_specification_are_none() {
        let invalid = Header::default();
        let unknown = Header {
            operation: 8,
            ..Header::default()
        };

        assert_eq!(invalid.operation(), None);
        assert_eq!(unknown.operation(), None);
    }
}
