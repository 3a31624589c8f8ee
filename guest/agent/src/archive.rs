//! Carries archives of a container's files between the runtime and the host's connection.

use std::io::{self, BufWriter, Read, Write};

use dhow_container::{Files, FilesError, Runtime, UnpackOptions};
use dhow_protocol::stream::{HEADER_BYTES, MAX_PAYLOAD_BYTES, StreamHeader, StreamKind};
use dhow_protocol::{ContainerFiles, Pack, Reply, Unpack};
use vsock::VsockStream;

use crate::message::{self, MessageError};

/// Answers with an archive.
pub(crate) fn pack(
    runtime: &Runtime,
    mut stream: VsockStream,
    files: &ContainerFiles,
    what: &Pack,
) -> Result<(), MessageError> {
    let found = runtime.files(files).and_then(|files| {
        let status = match what {
            Pack::Path(path) => Some(files.stat(path)?),
            Pack::All | Pack::Layer | Pack::Changes => None,
        };
        Ok((files, status))
    });
    let (files, status) = match found {
        Ok(found) => found,
        Err(error) => return message::send(&mut stream, &Reply::Failed(error.failure())),
    };
    message::send(&mut stream, &Reply::Packed(status))?;
    let outcome = write(&files, what, &stream);
    // A container that does not run can be started as soon as the host has the end.
    drop(files);
    let (kind, last) = match outcome {
        Ok(()) => (StreamKind::Stdout, String::new()),
        Err(error) => (StreamKind::Stderr, error.failure().message),
    };
    let cut = &last.as_bytes()[..last.len().min(MAX_PAYLOAD_BYTES)];
    frame(&stream, kind, cut).map_err(MessageError::Broken)
}

fn write(files: &Files<'_>, what: &Pack, stream: &VsockStream) -> Result<(), FilesError> {
    let mut output = BufWriter::with_capacity(MAX_PAYLOAD_BYTES, Frames(stream));
    match what {
        Pack::Path(path) => files.pack(path, &mut output)?,
        Pack::All => files.pack_all(&mut output)?,
        Pack::Layer => files.pack_layer(&mut output)?,
        Pack::Changes => files.list_changes(&mut output)?,
    }
    output.flush().map_err(FilesError::Output)
}

/// Takes an archive and unpacks it.
pub(crate) fn unpack(
    runtime: &Runtime,
    mut stream: VsockStream,
    request: &Unpack,
) -> Result<(), MessageError> {
    let files = match runtime.files(&request.files) {
        Ok(files) => files,
        Err(error) => return message::send(&mut stream, &Reply::Failed(error.failure())),
    };
    message::send(&mut stream, &Reply::Done)?;
    let options = UnpackOptions {
        path: &request.path,
        keep_kinds: request.keep_kinds,
        owner: &request.owner,
    };
    let mut input = Payloads {
        stream: &stream,
        left: 0,
        ended: false,
    };
    let unpacked = files.unpack(options, &mut input);
    // What follows the archive's end, and what is left of one that was refused: a host that is
    // still writing would not see the answer.
    let drained = io::copy(&mut input, &mut io::sink());
    // A container that does not run can be started as soon as the host has the answer.
    drop(files);
    let reply = match (unpacked, drained) {
        (Err(error), _) => Reply::Failed(error.failure()),
        (Ok(()), Err(error)) => return Err(MessageError::Broken(error)),
        (Ok(()), Ok(_)) => Reply::Done,
    };
    message::send(&mut stream, &reply)
}

/// Writes each piece as a frame.
struct Frames<'a>(&'a VsockStream);

impl Write for Frames<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(MAX_PAYLOAD_BYTES)];
        // An empty frame is the end, which is not for us to say.
        if !piece.is_empty() {
            frame(self.0, StreamKind::Stdout, piece)?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn frame(mut stream: &VsockStream, kind: StreamKind, payload: &[u8]) -> io::Result<()> {
    let header = StreamHeader::new(kind, payload.len()).map_err(io::Error::other)?;
    stream.write_all(&header.encode())?;
    stream.write_all(payload)
}

/// Reads the payloads of frames as one stream, to the empty one.
struct Payloads<'a> {
    stream: &'a VsockStream,
    left: usize,
    ended: bool,
}

impl Read for Payloads<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.ended {
            let mut header = [0; HEADER_BYTES];
            self.stream.read_exact(&mut header)?;
            let header = StreamHeader::decode(header).map_err(io::Error::other)?;
            if header.kind != StreamKind::Stdin {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.left = header.length;
            self.ended = header.length == 0;
        }
        if self.ended {
            return Ok(0);
        }
        let most = buffer.len().min(self.left);
        let length = self.stream.read(&mut buffer[..most])?;
        if length == 0 && most > 0 {
            // Without its end it is half an archive.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= length;
        Ok(length)
    }
}
