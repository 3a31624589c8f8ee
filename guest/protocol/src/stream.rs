//! Frames of a process's streams: an 8-byte header, then the payload.
//!
//! The header is the one of Docker's multiplexed attach stream (kind, three zero bytes, big-endian
//! length; Docker Engine API, "Attach to a container"), so output frames pass through the host to
//! an API client unchanged.
//!
//! ```text
//! host  → agent   Stdin(bytes)…  Stdin(empty) = end of input
//! agent → host    Stdout(bytes)… Stderr(bytes)…  Exit(ExitStatus) = last frame
//! ```

/// Length of a stream frame's header, in bytes.
pub const HEADER_BYTES: usize = 8;

/// The largest payload of one frame, in bytes; writers cut longer data.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StreamKind {
    /// Bytes for the process's standard input; an empty frame ends it.
    Stdin = 0,
    /// Bytes from standard output, or from the terminal.
    Stdout = 1,
    /// Bytes from standard error.
    Stderr = 2,
    /// The process ended: a postcard [`ExitStatus`](crate::ExitStatus), the last frame.
    Exit = 3,
}

/// A frame's header, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamHeader {
    /// What the payload is.
    pub kind: StreamKind,
    /// Length of the payload in bytes, at most [`MAX_PAYLOAD_BYTES`].
    pub length: usize,
}

/// Why a header was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// No such kind of frame.
    #[error("unknown stream frame kind {0}")]
    UnknownKind(u8),
    /// The payload exceeds [`MAX_PAYLOAD_BYTES`].
    #[error("stream frame of {0} bytes exceeds {MAX_PAYLOAD_BYTES}")]
    TooLarge(usize),
}

impl StreamHeader {
    /// The header of a payload of this length.
    ///
    /// # Errors
    /// [`StreamError::TooLarge`] past [`MAX_PAYLOAD_BYTES`].
    pub fn new(kind: StreamKind, length: usize) -> Result<Self, StreamError> {
        if length > MAX_PAYLOAD_BYTES {
            return Err(StreamError::TooLarge(length));
        }
        Ok(Self { kind, length })
    }

    /// The header as it goes over the wire.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let length = u32::try_from(self.length).expect("bounded by MAX_PAYLOAD_BYTES in new");
        let [a, b, c, d] = length.to_be_bytes();
        [self.kind as u8, 0, 0, 0, a, b, c, d]
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`StreamError`] on an unknown kind or a length past the bound.
    pub fn decode(bytes: [u8; HEADER_BYTES]) -> Result<Self, StreamError> {
        let kind = match bytes[0] {
            0 => StreamKind::Stdin,
            1 => StreamKind::Stdout,
            2 => StreamKind::Stderr,
            3 => StreamKind::Exit,
            other => return Err(StreamError::UnknownKind(other)),
        };
        let length = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        Self::new(kind, usize::try_from(length).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_dockers() {
        let header = StreamHeader::new(StreamKind::Stderr, 258).unwrap();

        assert_eq!(header.encode(), [2, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(StreamHeader::decode(header.encode()), Ok(header));
    }

    #[test]
    fn refuses_a_length_past_the_bound() {
        assert_eq!(
            StreamHeader::decode([1, 0, 0, 0, 0xff, 0, 0, 0]),
            Err(StreamError::TooLarge(0xff00_0000))
        );
    }

    #[test]
    fn refuses_an_unknown_kind() {
        assert_eq!(
            StreamHeader::decode([9, 0, 0, 0, 0, 0, 0, 0]),
            Err(StreamError::UnknownKind(9))
        );
    }
}
