//! A request body that is read while it is sent: an archive from a file or standard input.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

/// Pieces waiting between the reader and the socket; small, so that memory stays bounded.
const QUEUED_PIECES: usize = 4;

/// Pieces of a body, fed from elsewhere.
#[derive(Debug)]
pub struct Upload {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
}

impl Upload {
    /// The body and the sender that fills it; dropping the sender ends the body. An error sent
    /// breaks the request off, so that the daemon never takes half an archive for a whole one.
    #[must_use]
    pub fn channel() -> (mpsc::Sender<io::Result<Bytes>>, Self) {
        let (sender, pieces) = mpsc::channel(QUEUED_PIECES);
        (sender, Self { pieces })
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.pieces
            .poll_recv(context)
            .map(|piece| piece.map(|result| result.map(Frame::data)))
    }
}
