//! What the process that owns a VM is told: one serialisable description, never rebuilt from
//! live devices.

mod network;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use network::{NetworkCommand, Subnet};

/// A VM to run, written as one line of JSON to the owning process's standard input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// The kernel: an uncompressed `vmlinux` for KVM, the `linux` executable for UML.
    pub kernel: PathBuf,
    /// The initramfs that holds the agent.
    pub initramfs: PathBuf,
    /// Guest memory in bytes, a multiple of 4096.
    pub memory_bytes: u64,
    /// Virtual CPUs, at least 1. UML has one whatever is asked.
    pub vcpus: u8,
    /// The data disk's file, read and written.
    pub data_disk: PathBuf,
    /// Size of the layer disk's address space in bytes.
    pub layer_disk_bytes: u64,
    /// Folder for sockets and for UML's memory file; private to this machine.
    pub run_dir: PathBuf,
    /// Unix socket on which the owner takes the host's connections to guest ports.
    pub dial_socket: PathBuf,
    /// Unix sockets for the guest's connections to host ports.
    pub host_ports: Vec<HostPort>,
    /// File that takes the guest kernel's messages.
    pub console: PathBuf,
}

/// A port of the host that the guest may connect to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPort {
    /// The vsock port on CID 2.
    pub port: u32,
    /// The unix socket that a connection to it goes to.
    pub socket: PathBuf,
}

/// A line from the machine's user to the owning process, after the [`MachineSpec`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnerCommand {
    /// Put a file on the layer disk. Answered with [`OwnerEvent::Mapped`] or
    /// [`OwnerEvent::MapFailed`].
    MapLayer {
        /// Byte offset on the layer disk.
        offset: u64,
        /// Length in bytes.
        length: u64,
        /// The file.
        path: PathBuf,
    },
    /// Change the networks behind the guest's NIC. Not answered.
    Network(NetworkCommand),
}

/// A line from the owning process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnerEvent {
    /// The layer at this offset can be read.
    Mapped {
        /// As in the command.
        offset: u64,
    },
    /// The layer could not be mapped.
    MapFailed {
        /// As in the command.
        offset: u64,
        /// Why, for the user.
        reason: String,
    },
    /// The VM ended; the process exits after this line.
    Ended {
        /// How it ended.
        exit: VmExit,
    },
}

/// How a VM ended, as its owner saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VmExit {
    /// The guest powered off or reset itself.
    PowerOff,
    /// The guest could not be started or broke down.
    Failed {
        /// Why, for the user.
        reason: String,
    },
    /// The owner was told to stop.
    Stopped,
}
