//! What the agent answers.

use serde::{Deserialize, Serialize};

/// The agent's answer to a [`Request`](crate::Request).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done; nothing to tell.
    Done,
    /// The answer to the handshake.
    Welcome(Welcome),
    /// The process runs; stream frames follow.
    Started {
        /// Its process id as the machine sees it.
        pid: u32,
        /// What was asked for and could not be had, a line each, for the user.
        warnings: Vec<String>,
    },
    /// It did not work.
    Failed(Failure),
}

/// The machine, as its agent sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The agent's [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).
    pub protocol: u32,
    /// `uname -r`.
    pub kernel_release: String,
    /// Usable memory in bytes.
    pub memory_bytes: u64,
    /// Online CPUs.
    pub cpus: u32,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What sort of failure, for exit and status codes.
    pub kind: FailureKind,
    /// One line for the user: what was tried and why it failed.
    pub message: String,
}

/// Sorts of failure that the host treats differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// No such container or process on this machine.
    NotFound,
    /// The container already runs, or does not run.
    Conflict,
    /// The command is not in the container (exit code 127).
    CommandNotFound,
    /// The command cannot be executed (exit code 126).
    NotExecutable,
    /// The request itself is wrong: an unknown user, a bad configuration.
    Invalid,
    /// Nobody listens on the port.
    Refused,
    /// The guest failed at it: disk full, out of memory, a bug.
    Internal,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// The exit code, or 128 + the signal's number, as Docker reports it.
    pub code: u8,
    /// Whether the kernel killed a process of the container for want of memory.
    pub oom_killed: bool,
}
