//! What the agent tells of a running container: its processes, and what it uses.

use serde::{Deserialize, Serialize};

/// One process of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessFacts {
    /// Its process id as the machine sees it.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// Its effective user.
    pub uid: u32,
    /// The letter of its state, as `/proc` has it.
    pub state: char,
    /// Number of its pseudo terminal, if it has one.
    pub terminal: Option<u32>,
    /// Processor time used, in milliseconds.
    pub cpu_ms: u64,
    /// When it was started, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// Address space in bytes.
    pub virtual_bytes: u64,
    /// Memory in use, in bytes.
    pub resident_bytes: u64,
    /// Its command line, cut; or its name in brackets.
    pub command: String,
}

/// What a container has used since its start, and what it may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time.
    pub cpu: CpuUsage,
    /// Memory.
    pub memory: MemoryUsage,
    /// Processes and threads now.
    pub processes: u64,
    /// As many as there may be; `None` is no limit.
    pub processes_limit: Option<u64>,
    /// Traffic of each block device.
    pub blocks: Vec<BlockUsage>,
    /// Traffic of each network interface but the loopback.
    pub interfaces: Vec<InterfaceUsage>,
}

/// Processor time, in microseconds unless said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuUsage {
    /// In all.
    pub total_us: u64,
    /// Of it in programs.
    pub user_us: u64,
    /// Of it in the kernel.
    pub system_us: u64,
    /// Periods of a quota so far.
    pub periods: u64,
    /// Of those in which the quota was used up.
    pub throttled_periods: u64,
    /// How long it waited for the next period.
    pub throttled_us: u64,
    /// Time of all the machine's processors, idle or not, in nanoseconds.
    pub machine_ns: u64,
    /// How many processors there are.
    pub cpus: u32,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUsage {
    /// In use, page cache included.
    pub used: u64,
    /// As much as may be; `None` is no limit.
    pub limit: Option<u64>,
    /// The most there was; 0 where the kernel does not say.
    pub peak: u64,
    /// Lines of `memory.stat`.
    pub details: Vec<(String, u64)>,
}

/// Traffic of a block device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockUsage {
    /// Its major number.
    pub major: u64,
    /// Its minor number.
    pub minor: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Read operations.
    pub reads: u64,
    /// Write operations.
    pub writes: u64,
}

/// Traffic of a network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceUsage {
    /// Its name inside the container.
    pub name: String,
    /// Bytes received.
    pub received_bytes: u64,
    /// Packets received.
    pub received_packets: u64,
    /// Packets received wrong.
    pub received_errors: u64,
    /// Packets dropped on the way in.
    pub received_dropped: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets that could not be sent.
    pub sent_errors: u64,
    /// Packets dropped on the way out.
    pub sent_dropped: u64,
}
