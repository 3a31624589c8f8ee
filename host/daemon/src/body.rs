//! Bodies: responses that keep something alive, requests read early or by blocking code, responses
//! written by such code.

use std::any::Any;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::failure::Failure;

/// Pieces of a request's body waiting for the blocking reader.
const READ_AHEAD_PIECES: usize = 8;

/// A body that keeps something alive until it is sent or dropped.
pub(crate) struct Keeping {
    inner: Body,
    _kept: Box<dyn Any + Send>,
}

/// A body that keeps `kept` alive.
pub(crate) fn keeping(inner: Body, kept: impl Any + Send) -> Body {
    Body::new(Keeping {
        inner,
        _kept: Box::new(kept),
    })
}

impl HttpBody for Keeping {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A request's body for code that blocks.
#[derive(Debug)]
pub(crate) struct BlockingBody {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

/// The largest body that is read before its request is looked at, in bytes: any JSON that a client
/// sends, but no archive.
const MAX_EARLY_BODY_BYTES: usize = 256 * 1024;

/// Reads a small body whole before the handler runs. A refusal that leaves the body unread closes
/// the connection, and a client that is still writing sees a broken pipe instead of the reason.
pub(crate) async fn read_small(request: Request, next: Next) -> Response {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|text| text.to_str().ok()?.parse::<usize>().ok());
    if length.is_none_or(|length| length > MAX_EARLY_BODY_BYTES) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match axum::body::to_bytes(body, MAX_EARLY_BODY_BYTES).await {
        Ok(bytes) => {
            next.run(Request::from_parts(parts, Body::from(bytes)))
                .await
        }
        Err(error) => {
            let reason = format!("failed to read the request: {error}");
            Failure::new(StatusCode::BAD_REQUEST, reason).into_response()
        }
    }
}

/// Reads a body on for a blocking reader, no faster than that reads.
pub(crate) fn blocking(body: Body) -> BlockingBody {
    let (sender, pieces) = mpsc::channel(READ_AHEAD_PIECES);
    tokio::spawn(async move {
        let mut stream = body.into_data_stream();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(io::Error::other);
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    });
    BlockingBody {
        pieces,
        current: Bytes::new(),
    }
}

impl Read for BlockingBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let count = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// A response's body for code that blocks.
#[derive(Debug)]
pub(crate) struct BlockingWriter {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    gathered: Vec<u8>,
}

/// Bytes gathered before they are sent.
const WRITE_PIECE_BYTES: usize = 256 * 1024;

/// Breaks a body off.
#[derive(Debug)]
pub(crate) struct WriteFailure(mpsc::Sender<io::Result<Bytes>>);

impl WriteFailure {
    /// Ends the body with an error, so that its reader knows that it is not whole.
    pub(crate) async fn tell(self, reason: String) {
        let _reader_gone = self.0.send(Err(io::Error::other(reason))).await;
    }
}

/// A writer and the body that it fills, which holds it up when its reader is slow.
pub(crate) fn writer() -> (BlockingWriter, Body) {
    let (sender, receiver) = mpsc::channel(READ_AHEAD_PIECES);
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    let writer = BlockingWriter {
        pieces: sender,
        gathered: Vec::with_capacity(WRITE_PIECE_BYTES),
    };
    (writer, Body::from_stream(pieces))
}

impl BlockingWriter {
    /// What can end the body after this is gone.
    pub(crate) fn failure(&self) -> WriteFailure {
        WriteFailure(self.pieces.clone())
    }
}

impl Write for BlockingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= WRITE_PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let room = Vec::with_capacity(WRITE_PIECE_BYTES);
        let piece = std::mem::replace(&mut self.gathered, room);
        let sent = self.pieces.blocking_send(Ok(piece.into()));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
