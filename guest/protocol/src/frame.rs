//! Messages on a connection: a little-endian `u32` length, then that many bytes of postcard.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Length of the prefix of a message, in bytes.
pub const PREFIX_BYTES: usize = 4;

/// The largest message, in bytes: an OCI configuration with a few thousand environment variables
/// fits, and a broken peer cannot make the other side allocate more.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Why a message could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The message is larger than [`MAX_MESSAGE_BYTES`].
    #[error("message of {bytes} bytes exceeds {MAX_MESSAGE_BYTES}")]
    TooLarge {
        /// The length met.
        bytes: usize,
    },
    /// The bytes are no message of this protocol version.
    #[error("message cannot be encoded or decoded")]
    Malformed(#[source] postcard::Error),
}

/// Encodes a message with its prefix, ready to be written at once.
///
/// # Errors
/// [`FrameError::TooLarge`] past [`MAX_MESSAGE_BYTES`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes =
        postcard::to_extend(message, vec![0; PREFIX_BYTES]).map_err(FrameError::Malformed)?;
    let length = bytes.len() - PREFIX_BYTES;
    match u32::try_from(length) {
        Ok(prefix) if length <= MAX_MESSAGE_BYTES => {
            bytes[..PREFIX_BYTES].copy_from_slice(&prefix.to_le_bytes());
            Ok(bytes)
        }
        _ => Err(FrameError::TooLarge { bytes: length }),
    }
}

/// The length of the message that follows this prefix.
///
/// # Errors
/// [`FrameError::TooLarge`] past [`MAX_MESSAGE_BYTES`]: nothing may be allocated for it.
pub fn decode_prefix(prefix: [u8; PREFIX_BYTES]) -> Result<usize, FrameError> {
    let bytes = usize::try_from(u32::from_le_bytes(prefix)).unwrap_or(usize::MAX);
    if bytes > MAX_MESSAGE_BYTES {
        Err(FrameError::TooLarge { bytes })
    } else {
        Ok(bytes)
    }
}

/// Decodes the bytes after the prefix.
///
/// # Errors
/// [`FrameError::Malformed`] where they are no `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    postcard::from_bytes(bytes).map_err(FrameError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reply, Request};

    #[test]
    fn a_message_survives_the_round_trip() {
        let request = Request::Remove {
            container: "abc".to_owned(),
        };

        let bytes = encode(&request).unwrap();

        let length = decode_prefix(bytes[..PREFIX_BYTES].try_into().unwrap()).unwrap();
        assert_eq!(length, bytes.len() - PREFIX_BYTES);
        assert_eq!(decode::<Request>(&bytes[PREFIX_BYTES..]).unwrap(), request);
    }

    #[test]
    fn refuses_a_prefix_past_the_bound() {
        let prefix = u32::MAX.to_le_bytes();

        let error = decode_prefix(prefix).unwrap_err();

        assert!(matches!(error, FrameError::TooLarge { .. }));
    }

    #[test]
    fn refuses_bytes_that_are_no_message() {
        let error = decode::<Reply>(&[0xff, 0xff]).unwrap_err();

        assert!(matches!(error, FrameError::Malformed(_)));
    }
}
