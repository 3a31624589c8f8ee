//! Joins a container's streams with ours until either side has had enough.

use std::io;

use bytes::Bytes;
use dhow_api::client::{Channel, ClientError, FrameDecoder, Hijacked, HijackedReader};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;

use super::detach_keys::DetachKeys;
use super::input;
use super::output::{Sink, Stream};
use crate::failure::Failure;

/// Bytes of output taken from the socket at once.
const READ_BYTES: usize = 32 * 1024;

/// How a session is to work.
#[derive(Debug)]
pub(crate) struct Session {
    /// The container has a terminal: its output is not in frames.
    pub(crate) tty: bool,
    /// Send our input.
    pub(crate) stdin: bool,
    /// Keys that leave; only looked for when we have a terminal as well.
    pub(crate) detach_keys: Option<DetachKeys>,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    /// There is no more output.
    Closed,
    /// The user left; the container goes on.
    Detached,
}

impl Session {
    /// Carries bytes both ways until the output ends or the user leaves.
    pub(crate) async fn carry(self, streams: Hijacked) -> Result<SessionEnd, Failure> {
        let Hijacked { reader, writer } = streams;
        let output = carry_output(reader, self.tty);
        if !self.stdin {
            // The write half stays open: closing it would tell the daemon that we have left.
            let result = output.await;
            drop(writer);
            return result.map(|()| SessionEnd::Closed);
        }
        let input = carry_input(input::standard_input(), writer, self.detach_keys);
        tokio::pin!(output, input);
        tokio::select! {
            result = &mut output => return result.map(|()| SessionEnd::Closed),
            end = &mut input => {
                if end? == SessionEnd::Detached {
                    return Ok(SessionEnd::Detached);
                }
            }
        }
        // Our input has ended; the process may still have much to say.
        output.await.map(|()| SessionEnd::Closed)
    }
}

/// Writes what arrives to our outputs.
async fn carry_output(mut reader: HijackedReader, tty: bool) -> Result<(), Failure> {
    let mut outputs = Outputs::new(tty);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let length = reader.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        outputs.write(&buffer[..length]).await?;
    }
}

/// Both outputs, and how what is written to them is told apart.
#[derive(Debug)]
pub(crate) struct Outputs {
    output: Sink,
    error: Sink,
    frames: Option<FrameDecoder>,
}

impl Outputs {
    /// With a terminal there is one stream and no frames.
    pub(crate) fn new(tty: bool) -> Self {
        Self {
            output: Sink::new(Stream::Output),
            error: Sink::new(Stream::Error),
            frames: (!tty).then(FrameDecoder::default),
        }
    }

    /// Writes the next bytes of the stream.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(frames) = &mut self.frames else {
            return Ok(self.output.write_all(bytes).await?);
        };
        let mut rest = bytes;
        while let Some((channel, piece)) = frames
            .next(&mut rest)
            .map_err(|source| ClientError::Frame { source })?
        {
            let sink = match channel {
                Channel::Output => &mut self.output,
                Channel::Error | Channel::System => &mut self.error,
            };
            sink.write_all(piece).await?;
        }
        Ok(())
    }
}

/// Sends our input; its end closes the process's input.
async fn carry_input(
    mut pieces: mpsc::Receiver<io::Result<Bytes>>,
    mut writer: OwnedWriteHalf,
    mut keys: Option<DetachKeys>,
) -> Result<SessionEnd, Failure> {
    while let Some(piece) = pieces.recv().await {
        // A terminal that was hung up reads as an error: that is an end, not a fault.
        let Ok(piece) = piece else { break };
        let written = match &mut keys {
            None => writer.write_all(&piece).await,
            Some(keys) => {
                let mut passed = Vec::with_capacity(piece.len());
                let detached = keys.filter(&piece, &mut passed);
                let written = writer.write_all(&passed).await;
                if detached {
                    return Ok(SessionEnd::Detached);
                }
                written
            }
        };
        if written.is_err() {
            // The process no longer reads, or has ended; the output will tell.
            return Ok(SessionEnd::Closed);
        }
    }
    if let Some(keys) = &mut keys {
        let _process_gone = writer.write_all(keys.held_back()).await;
    }
    let _process_gone = writer.shutdown().await;
    Ok(SessionEnd::Closed)
}
