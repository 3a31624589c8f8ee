//! Reads a process's connection until its exit frame.

use std::io;

use bytes::BytesMut;
use dhow_protocol::ExitStatus;
use dhow_protocol::frame::{self, FrameError};
use dhow_protocol::stream::{
    HEADER_BYTES, MAX_PAYLOAD_BYTES, StreamError, StreamHeader, StreamKind,
};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;

use super::{Hub, OutputFrame, input};
use crate::log::LogWriter;

/// Read ahead by so much: several small frames a system call, one large frame whole.
const READ_BYTES: usize = MAX_PAYLOAD_BYTES + HEADER_BYTES;

/// Why a process's streams broke off before its exit.
#[derive(Debug, thiserror::Error)]
pub enum PumpError {
    /// The connection ended or failed: the machine is gone.
    #[error("the machine ended while the process ran")]
    Lost(#[source] io::Error),
    /// The agent sent what is no frame.
    #[error("the machine sent a malformed stream")]
    Malformed(#[source] StreamError),
    /// The agent sent an exit frame that holds no exit status.
    #[error("the machine sent a malformed exit status")]
    Exit(#[source] FrameError),
}

/// Carries streams both ways until the process ends; its log and clients are complete then.
pub(crate) async fn pump(
    connection: UnixStream,
    hub: &Hub,
    log: Option<&LogWriter>,
) -> Result<ExitStatus, PumpError> {
    let (reader, writer) = connection.into_split();
    let forward = input::forward(hub.take_input(), writer);
    tokio::pin!(forward);
    let read = read_frames(reader, hub, log);
    tokio::pin!(read);
    let mut forwarding = true;
    loop {
        tokio::select! {
            status = &mut read => return status,
            () = &mut forward, if forwarding => forwarding = false,
        }
    }
}

async fn read_frames(
    mut reader: OwnedReadHalf,
    hub: &Hub,
    log: Option<&LogWriter>,
) -> Result<ExitStatus, PumpError> {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        while let Some((kind, frame)) = take_frame(&mut buffer)? {
            match kind {
                StreamKind::Exit => {
                    return frame::decode(&frame[HEADER_BYTES..]).map_err(PumpError::Exit);
                }
                StreamKind::Stdin => return Err(PumpError::Malformed(StreamError::UnknownKind(0))),
                StreamKind::Stdout | StreamKind::Stderr => {
                    let output = OutputFrame::new(kind, frame.freeze());
                    if let Some(log) = log {
                        log.append(kind, &output.payload());
                    }
                    hub.deliver(&output).await;
                }
            }
        }
        buffer.reserve(READ_BYTES);
        let count = reader
            .read_buf(&mut buffer)
            .await
            .map_err(PumpError::Lost)?;
        if count == 0 {
            return Err(PumpError::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// Splits the next whole frame off, header included.
fn take_frame(buffer: &mut BytesMut) -> Result<Option<(StreamKind, BytesMut)>, PumpError> {
    let Some(header) = buffer.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let header = StreamHeader::decode(*header).map_err(PumpError::Malformed)?;
    let length = HEADER_BYTES + header.length;
    if buffer.len() < length {
        return Ok(None);
    }
    Ok(Some((header.kind, buffer.split_to(length))))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::stream::Selection;

    fn frame_of(kind: StreamKind, payload: &[u8]) -> Vec<u8> {
        let header = StreamHeader::new(kind, payload.len()).unwrap().encode();
        [&header, payload].concat()
    }

    #[tokio::test]
    async fn output_reaches_clients_and_the_exit_status_comes_back() {
        let hub = Hub::new();
        let mut client = hub
            .attach(Selection {
                stdout: true,
                ..Selection::default()
            })
            .unwrap();
        let (ours, mut agent) = UnixStream::pair().unwrap();
        let exit = [7, 0];
        let sent = [
            frame_of(StreamKind::Stdout, b"hello"),
            frame_of(StreamKind::Exit, &exit),
        ]
        .concat();
        agent.write_all(&sent).await.unwrap();

        let status = pump(ours, &hub, None).await.unwrap();

        assert_eq!(status.code, 7);
        assert_eq!(client.output.recv().await.unwrap().payload(), "hello");
    }

    #[tokio::test]
    async fn a_connection_that_ends_early_is_a_lost_machine() {
        let (ours, agent) = UnixStream::pair().unwrap();
        drop(agent);

        let error = pump(ours, &Hub::new(), None).await.unwrap_err();

        assert!(matches!(error, PumpError::Lost(_)));
    }

    #[tokio::test]
    async fn input_arrives_as_frames() {
        let hub = Hub::new();
        let client = hub
            .attach(Selection {
                stdin: true,
                ..Selection::default()
            })
            .unwrap();
        let (ours, mut agent) = UnixStream::pair().unwrap();
        let input = client.input.unwrap();
        input.send("abc".into()).await.unwrap();
        input.end().await;
        let mut received = [0; 19];

        let pumping = pump(ours, &hub, None);
        tokio::select! {
            _ = pumping => panic!("ended before the input arrived"),
            read = agent.read_exact(&mut received) => { read.unwrap(); }
        }

        assert_eq!(&received, b"\0\0\0\0\0\0\0\x03abc\0\0\0\0\0\0\0\0");
    }
}
