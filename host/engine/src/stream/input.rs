//! Standard input on its way from clients to a process.
//!
//! Bounded: a client that writes faster than the process reads is not read from.

use bytes::Bytes;
use dhow_protocol::stream::{MAX_PAYLOAD_BYTES, StreamHeader, StreamKind};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;

/// Pieces of input waiting; a client reads at most 64 KiB at once, so 512 KiB.
const INPUT_BUFFER_PIECES: usize = 8;

/// What clients send.
#[derive(Debug)]
pub(crate) enum Input {
    /// Bytes for the process.
    Bytes(Bytes),
    /// End of input.
    End,
}

/// The process's end.
pub(crate) type InputReceiver = mpsc::Receiver<Input>;

/// The clients' end.
#[derive(Clone, Debug)]
pub struct InputSender(mpsc::Sender<Input>);

/// Nobody reads the input any more: the process has ended or closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the process reads no more input")]
pub struct InputClosed;

pub(crate) fn channel() -> (InputSender, InputReceiver) {
    let (sender, receiver) = mpsc::channel(INPUT_BUFFER_PIECES);
    (InputSender(sender), receiver)
}

impl InputSender {
    /// Sends bytes, waiting while the process reads slower than the client writes.
    ///
    /// # Errors
    /// [`InputClosed`] once nobody reads.
    pub async fn send(&self, bytes: Bytes) -> Result<(), InputClosed> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.0.send(Input::Bytes(bytes)).await.or(Err(InputClosed))
    }

    /// Ends the input.
    pub async fn end(&self) {
        // A process that has ended needs no end of input.
        let _unread = self.0.send(Input::End).await;
    }
}

/// Writes input as frames until its end, the process's end, or the connection's.
pub(crate) async fn forward(mut receiver: InputReceiver, mut connection: OwnedWriteHalf) {
    while let Some(input) = receiver.recv().await {
        let written = match input {
            Input::Bytes(bytes) => write_frames(&mut connection, &bytes).await,
            Input::End => {
                receiver.close();
                write_frame(&mut connection, &[]).await
            }
        };
        if written.is_err() {
            return;
        }
    }
    // The half stays open: its close would tell the agent that the host is gone.
    std::future::pending::<()>().await;
}

async fn write_frames(connection: &mut OwnedWriteHalf, bytes: &[u8]) -> std::io::Result<()> {
    for piece in bytes.chunks(MAX_PAYLOAD_BYTES) {
        write_frame(connection, piece).await?;
    }
    Ok(())
}

async fn write_frame(connection: &mut OwnedWriteHalf, piece: &[u8]) -> std::io::Result<()> {
    let header = StreamHeader::new(StreamKind::Stdin, piece.len())
        .expect("callers cut at the bound")
        .encode();
    let mut frame = Vec::with_capacity(header.len() + piece.len());
    frame.extend_from_slice(&header);
    frame.extend_from_slice(piece);
    connection.write_all(&frame).await
}
