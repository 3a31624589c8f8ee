//! The streams of a process: frames from the agent to its log and attached clients, and back.
//!
//! One connection to the agent carries a process's streams ([`dhow_protocol::stream`]).
//! [`pump`] reads it, writes the log, and hands each frame to the [`Hub`], which fans out to the
//! attached clients; [`input`] carries clients' bytes to the process.

pub mod hub;
pub mod input;
pub mod pump;

use bytes::Bytes;
use dhow_protocol::stream::{HEADER_BYTES, StreamKind};

pub use hub::{Attachment, Hub, Selection};
pub use input::InputSender;

/// Output of a process, with the header Docker's multiplexed streams have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFrame {
    /// Standard output or standard error.
    pub kind: StreamKind,
    /// Header and payload.
    bytes: Bytes,
}

impl OutputFrame {
    /// From header and payload in one piece.
    pub(crate) fn new(kind: StreamKind, bytes: Bytes) -> Self {
        Self { kind, bytes }
    }

    /// Header and payload: what a multiplexed client gets.
    #[must_use]
    pub fn multiplexed(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The payload alone: what a client of a terminal gets.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..)
    }
}
