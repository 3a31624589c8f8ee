//! The contract between the host side and the guest agent: messages and framing, no I/O.
//!
//! Every call and every stream has a vsock connection of its own, opened by the host to
//! [`AGENT_PORT`]. The host writes one *message* ([`frame`]) holding a [`Request`]; the agent
//! answers with one message holding a [`Reply`]. What follows depends on the request:
//!
//! - most calls: nothing, both sides close;
//! - [`Request::Run`] and [`Request::Exec`], once answered [`Reply::Started`]: *stream frames*
//!   ([`stream`]) both ways until the agent sends the exit frame;
//! - [`Request::Connect`], once answered [`Reply::Done`]: raw bytes (TCP) or datagrams (UDP).
//!
//! Host and agent are always of one build (the agent ships inside the host's distribution), so the
//! encoding is postcard and need not be self-describing; [`PROTOCOL_VERSION`] in the handshake
//! catches a mix of builds. Rule: a length read from a peer is checked against its named bound
//! before anything is allocated.

pub mod frame;
pub mod reply;
pub mod request;
pub mod stream;

pub use reply::{ExitStatus, Failure, FailureKind, Reply, Welcome};
pub use request::{
    Connect, ConsoleSize, ExecProcess, LayerRange, Request, Resize, RunContainer, Signal,
    SocketKind,
};

/// Raised with every change to a message or to the framing.
pub const PROTOCOL_VERSION: u32 = 2;

/// The vsock port on which the agent listens for the host's connections.
pub const AGENT_PORT: u32 = 1024;

/// The vsock port of the host (CID 2) to which the agent connects once it listens; the host takes
/// the connection as "ready" and closes it.
pub const READY_PORT: u32 = 1025;

/// The vsock CID that every guest is given; each guest has a device of its own, so they never meet.
pub const GUEST_CID: u64 = 3;
