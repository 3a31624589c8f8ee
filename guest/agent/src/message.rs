//! Protocol messages on a blocking stream.

use std::io::{self, Read, Write};

use dhow_protocol::frame::{self, FrameError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a message could not be exchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MessageError {
    /// The connection broke.
    #[error("lost the host's connection")]
    Broken(#[source] io::Error),
    /// The bytes are no message.
    #[error("failed to understand the host")]
    Malformed(#[source] FrameError),
}

/// Reads one message.
pub(crate) fn receive<T: DeserializeOwned>(stream: &mut impl Read) -> Result<T, MessageError> {
    let mut prefix = [0; frame::PREFIX_BYTES];
    stream
        .read_exact(&mut prefix)
        .map_err(MessageError::Broken)?;
    let length = frame::decode_prefix(prefix).map_err(MessageError::Malformed)?;
    let mut bytes = vec![0; length];
    stream
        .read_exact(&mut bytes)
        .map_err(MessageError::Broken)?;
    frame::decode(&bytes).map_err(MessageError::Malformed)
}

/// Writes one message.
pub(crate) fn send<T: Serialize>(stream: &mut impl Write, message: &T) -> Result<(), MessageError> {
    let bytes = frame::encode(message).map_err(MessageError::Malformed)?;
    stream.write_all(&bytes).map_err(MessageError::Broken)
}
