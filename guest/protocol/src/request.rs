//! What the host asks of the agent.

use serde::{Deserialize, Serialize};

use crate::files::{ContainerFiles, Pack, Unpack};
use crate::network::{Interface, NetworkSetup};

/// The first message on a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The handshake, and the host's clock for the guest to take over. Answered with
    /// [`Reply::Welcome`](crate::Reply::Welcome).
    Hello {
        /// The host's [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).
        protocol: u32,
        /// The host's real time, nanoseconds since the Unix epoch.
        unix_time_ns: u64,
    },
    /// Sets a container up and starts its process; stream frames follow.
    Run(Box<RunContainer>),
    /// Starts a further process in a running container; stream frames follow.
    Exec(Box<ExecProcess>),
    /// Sends a signal to a container's first process.
    Signal(Signal),
    /// Sets the size of a process's terminal.
    Resize(Resize),
    /// Opens a connection to a port inside a container's network namespace; raw bytes follow.
    Connect(Connect),
    /// Connects a running container to a network.
    Attach {
        /// The container's id.
        container: String,
        /// Its interface there.
        interface: Interface,
    },
    /// Disconnects a running container from a network; one that is not connected is fine.
    Detach {
        /// The container's id.
        container: String,
        /// The network, as in [`Interface::network`].
        network: String,
    },
    /// Freezes every process of a container, or lets them go on.
    Pause {
        /// The container's id.
        container: String,
        /// Whether to freeze (true) or thaw (false).
        frozen: bool,
    },
    /// Asks for the processes of a running container. Answered with
    /// [`Reply::Processes`](crate::Reply::Processes).
    Processes {
        /// The container's id.
        container: String,
    },
    /// Asks what a running container uses. Answered with [`Reply::Usage`](crate::Reply::Usage).
    Usage {
        /// The container's id.
        container: String,
    },
    /// Changes limits of a running container. Answered with
    /// [`Reply::Updated`](crate::Reply::Updated).
    Update {
        /// The container's id.
        container: String,
        /// OCI `linux.resources`; what is not in it stays.
        resources_json: String,
    },
    /// Asks what is at a path of a container. Answered with
    /// [`Reply::PathStat`](crate::Reply::PathStat).
    StatPath {
        /// Of which container.
        files: ContainerFiles,
        /// The path, from the container's root.
        path: String,
    },
    /// Asks for an archive of a container's files.
    Pack {
        /// Of which container.
        files: ContainerFiles,
        /// Which files.
        what: Pack,
    },
    /// Has an archive unpacked in a container.
    Unpack(Unpack),
    /// Deletes what the data disk holds of a container that is not running. Unknown ids are fine.
    Remove {
        /// The container's id.
        container: String,
    },
    /// Ends every process (SIGTERM, the grace period, SIGKILL), syncs, and powers the machine off
    /// after the reply.
    Shutdown {
        /// How long processes have to end by themselves, in milliseconds.
        grace_ms: u32,
    },
}

/// Where a layer's EROFS file lies on the layer disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LayerRange {
    /// Byte offset, a multiple of 4096.
    pub offset: u64,
    /// Length in bytes, a multiple of 4096.
    pub length: u64,
}

/// A container to set up and start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunContainer {
    /// The container's id: 64 hexadecimal digits.
    pub id: String,
    /// OCI runtime-spec `config.json`. `root.path` is ignored: the agent mounts the root itself.
    pub config_json: String,
    /// Docker's `User` (`name|uid[:group|gid]`, or empty), looked up in the container's own files;
    /// wins over `process.user` where not empty.
    pub user: String,
    /// Further groups, by name or number, looked up in the container's own files.
    pub additional_groups: Vec<String>,
    /// The image's layers, lowest first.
    pub layers: Vec<LayerRange>,
    /// Its network. Agrees with the namespaces of `config_json`: one of its own for
    /// [`NetworkSetup::Own`], none for the others.
    pub network: NetworkSetup,
    /// Content of `/etc/hosts`, mounted over the image's.
    pub hosts: String,
    /// Content of `/etc/resolv.conf`, mounted over the image's.
    pub resolv_conf: String,
    /// Whether standard input is a pipe kept open for the host (true) or `/dev/null` (false).
    pub open_stdin: bool,
    /// Whether a tiny init reaps orphans as process 1 (Docker's `--init`).
    pub init: bool,
    /// The terminal's first size, where `process.terminal` is set.
    pub console_size: Option<ConsoleSize>,
}

/// A further process in a running container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecProcess {
    /// The container's id.
    pub container: String,
    /// The exec's own id, unique on the machine.
    pub exec: String,
    /// OCI runtime-spec `process` object as JSON.
    pub process_json: String,
    /// As in [`RunContainer::user`].
    pub user: String,
    /// As in [`RunContainer::additional_groups`].
    pub additional_groups: Vec<String>,
    /// As in [`RunContainer::open_stdin`].
    pub open_stdin: bool,
    /// The terminal's first size, where `terminal` is set.
    pub console_size: Option<ConsoleSize>,
}

/// A signal for a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The container's id.
    pub container: String,
    /// The exec's id, or `None` for the container's first process.
    pub exec: Option<String>,
    /// The signal's number as on x86-64 Linux, 1 to 64.
    pub signal: i32,
    /// Whether every process of the container gets it.
    pub all: bool,
}

/// A terminal's new size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resize {
    /// The container's id.
    pub container: String,
    /// The exec's id, or `None` for the container's first process.
    pub exec: Option<String>,
    /// The new size.
    pub size: ConsoleSize,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleSize {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// A connection into a container's network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connect {
    /// The container's id.
    pub container: String,
    /// The port, 1 to 65535.
    pub port: u16,
    /// Stream or datagrams.
    pub kind: SocketKind,
    /// How long to keep trying while nobody listens yet, in milliseconds: a published port whose
    /// application is still starting.
    pub wait_ms: u32,
}

/// The transport of a forwarded port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SocketKind {
    /// TCP: raw bytes both ways, half-close carried over.
    Tcp,
    /// UDP: each datagram preceded by its length as a big-endian `u16`.
    Udp,
}
