//! Connections to guest ports, and the calls made on them.
//!
//! The owner of the VM listens on a unix socket: the client writes the guest port as a
//! little-endian `u32` and reads one byte ([`CONNECTED`] or a refusal); raw bytes follow.

use std::io;
use std::path::Path;

use dhow_protocol::frame::{self, FrameError};
use dhow_protocol::{Failure, Reply, Request};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// The byte that tells that the guest accepted the connection.
pub const CONNECTED: u8 = 0;

/// Why a call to the guest failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The process that owns the VM cannot be reached: the machine is gone.
    #[error("failed to reach the machine")]
    Unreachable(#[source] io::Error),
    /// Nobody listens on the guest's port.
    #[error("the machine's agent does not listen on port {0}")]
    Refused(u32),
    /// The connection broke in the middle of the call: the machine is going.
    #[error("lost the connection to the machine")]
    Broken(#[source] io::Error),
    /// The agent speaks another language.
    #[error("failed to understand the machine's agent")]
    Protocol(#[source] FrameError),
    /// The agent tried and failed.
    #[error(transparent)]
    Failed(Failure),
}

/// Opens a connection to `port` of the guest behind `socket`.
///
/// # Errors
/// [`CallError::Unreachable`] or [`CallError::Refused`].
pub async fn dial(socket: &Path, port: u32) -> Result<UnixStream, CallError> {
    let mut stream = UnixStream::connect(socket)
        .await
        .map_err(CallError::Unreachable)?;
    stream
        .write_all(&port.to_le_bytes())
        .await
        .map_err(CallError::Unreachable)?;
    match stream.read_u8().await {
        Ok(CONNECTED) => Ok(stream),
        Ok(_) => Err(CallError::Refused(port)),
        Err(source) => Err(CallError::Unreachable(source)),
    }
}

/// Writes one message.
pub(crate) async fn send<T: Serialize>(
    stream: &mut UnixStream,
    message: &T,
) -> Result<(), CallError> {
    let bytes = frame::encode(message).map_err(CallError::Protocol)?;
    stream.write_all(&bytes).await.map_err(CallError::Broken)
}

/// Reads a reply; a failure told by the agent becomes [`CallError::Failed`]. For calls that have a
/// further reply after what was sent on their connection.
///
/// # Errors
/// [`CallError`].
pub async fn receive(stream: &mut UnixStream) -> Result<Reply, CallError> {
    let mut prefix = [0; frame::PREFIX_BYTES];
    stream
        .read_exact(&mut prefix)
        .await
        .map_err(CallError::Broken)?;
    let length = frame::decode_prefix(prefix).map_err(CallError::Protocol)?;
    let mut bytes = vec![0; length];
    stream
        .read_exact(&mut bytes)
        .await
        .map_err(CallError::Broken)?;
    match frame::decode(&bytes).map_err(CallError::Protocol)? {
        Reply::Failed(failure) => Err(CallError::Failed(failure)),
        reply => Ok(reply),
    }
}

/// Makes a call on a new connection and hands over the connection with the answer.
pub(crate) async fn open(
    socket: &Path,
    request: &Request,
) -> Result<(Reply, UnixStream), CallError> {
    let mut stream = dial(socket, dhow_protocol::AGENT_PORT).await?;
    send(&mut stream, request).await?;
    let reply = receive(&mut stream).await?;
    Ok((reply, stream))
}
