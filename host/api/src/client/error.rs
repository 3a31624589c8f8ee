//! What can go wrong between us and a daemon.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::frames::FrameError;

/// Why a call did not succeed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens on the socket, or we may not speak to who does.
    #[error("failed to connect to {}", socket.display())]
    Connect {
        /// The socket that was tried.
        socket: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The connection broke before the answer was complete.
    #[error("the daemon hung up during {call}")]
    Exchange {
        /// Method and path of the call.
        call: String,
        /// HTTP's reason.
        #[source]
        source: hyper::Error,
    },
    /// The request could not be written as HTTP.
    #[error("{call} is not a valid request")]
    Request {
        /// Method and path of the call.
        call: String,
        /// What HTTP forbids about it.
        #[source]
        source: hyper::http::Error,
    },
    /// Our own request has no JSON form.
    #[error("failed to encode the request for {call}")]
    Encode {
        /// Method and path of the call.
        call: String,
        /// The encoder's reason.
        #[source]
        source: serde_json::Error,
    },
    /// The answer is not what the API promises.
    #[error("failed to understand the answer to {call}")]
    Decode {
        /// Method and path of the call.
        call: String,
        /// The decoder's reason.
        #[source]
        source: serde_json::Error,
    },
    /// The daemon understood and said no.
    #[error("{message}")]
    Refused {
        /// HTTP status: 404 no such thing, 409 conflict, 400 bad request, 500 daemon's fault.
        status: u16,
        /// The daemon's words.
        message: String,
    },
    /// The daemon answered, but did not hand over the connection.
    #[error("the daemon did not open a stream for {call} (HTTP status {status})")]
    NotUpgraded {
        /// Method and path of the call.
        call: String,
        /// What it answered instead of 101.
        status: u16,
    },
    /// Reading or writing an open stream failed.
    #[error("the stream to the daemon broke")]
    Stream {
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Output arrived in frames that make no sense.
    #[error("the daemon sent a broken stream")]
    Frame {
        /// What is wrong with the frame.
        #[source]
        source: FrameError,
    },
}

impl ClientError {
    /// HTTP status of a refusal; `None` for everything that never got an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}
