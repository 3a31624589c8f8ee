//! What a container uses: `containers/{id}/stats`.

use std::collections::HashMap;

use hyper::Method;
use serde::Deserialize;

use super::connection::{Client, full};
use super::error::ClientError;
use super::streamed::StreamedBody;
use super::target::Target;

/// One sample, as far as a table needs it. What a daemon leaves out is nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ContainerStats {
    /// Full id.
    pub id: String,
    /// Name with a slash before it.
    pub name: String,
    /// Processor time by now.
    #[serde(rename = "cpu_stats")]
    pub cpu: CpuStats,
    /// Processor time by the sample before.
    #[serde(rename = "precpu_stats")]
    pub cpu_before: CpuStats,
    /// Memory.
    #[serde(rename = "memory_stats")]
    pub memory: MemoryStats,
    /// Processes.
    #[serde(rename = "pids_stats")]
    pub pids: PidsStats,
    /// Traffic by interface.
    pub networks: Option<HashMap<String, NetworkStats>>,
    /// Traffic of disks.
    #[serde(rename = "blkio_stats")]
    pub blocks: BlockStats,
}

/// Processor time in nanoseconds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CpuStats {
    /// The container's.
    #[serde(rename = "cpu_usage")]
    pub usage: CpuTotal,
    /// The machine's; nothing where the container does not run.
    #[serde(rename = "system_cpu_usage")]
    pub system_usage: Option<u64>,
    /// Processors.
    pub online_cpus: Option<u32>,
}

/// The container's processor time.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CpuTotal {
    /// In all.
    #[serde(rename = "total_usage")]
    pub total: u64,
}

/// Memory in bytes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct MemoryStats {
    /// In use, page cache included.
    pub usage: Option<u64>,
    /// As much as may be.
    pub limit: Option<u64>,
    /// Lines of `memory.stat`.
    pub stats: Option<HashMap<String, u64>>,
}

/// Processes and threads.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PidsStats {
    /// Now.
    pub current: Option<u64>,
}

/// Traffic of an interface.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NetworkStats {
    /// Received.
    pub rx_bytes: u64,
    /// Sent.
    pub tx_bytes: u64,
}

/// Traffic of disks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct BlockStats {
    /// Bytes by device and direction.
    #[serde(rename = "io_service_bytes_recursive")]
    pub bytes: Option<Vec<BlockEntry>>,
}

/// Bytes of one device in one direction.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct BlockEntry {
    /// `read` or `write`.
    #[serde(rename = "op")]
    pub operation: String,
    /// How many.
    pub value: u64,
}

impl ContainerStats {
    /// Percent of one processor, between the two samples.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "two digits of it are shown")]
    pub fn cpu_percent(&self) -> f64 {
        let used = self
            .cpu
            .usage
            .total
            .saturating_sub(self.cpu_before.usage.total) as f64;
        let system = |stats: &CpuStats| stats.system_usage.unwrap_or_default();
        let passed = system(&self.cpu).saturating_sub(system(&self.cpu_before)) as f64;
        if passed == 0.0 {
            return 0.0;
        }
        used / passed * f64::from(self.cpu.online_cpus.unwrap_or(1)) * 100.0
    }

    /// Memory in use without what the kernel would give up for the asking: as the docker CLI counts.
    #[must_use]
    pub fn memory_used(&self) -> u64 {
        let usage = self.memory.usage.unwrap_or_default();
        let details = self.memory.stats.as_ref();
        let cached = details.and_then(|details| {
            let total = details.get("total_inactive_file");
            total.or_else(|| details.get("inactive_file"))
        });
        let cached = cached.copied().filter(|cached| *cached < usage);
        usage - cached.unwrap_or_default()
    }

    /// Bytes received and sent.
    #[must_use]
    pub fn network_bytes(&self) -> (u64, u64) {
        let all = || self.networks.iter().flat_map(HashMap::values);
        let received = all().map(|network| network.rx_bytes).sum();
        (received, all().map(|network| network.tx_bytes).sum())
    }

    /// Bytes read and written.
    #[must_use]
    pub fn block_bytes(&self) -> (u64, u64) {
        let sum = |operation: &str| {
            let entries = self.blocks.bytes.iter().flatten();
            let wanted = entries.filter(|entry| entry.operation.eq_ignore_ascii_case(operation));
            wanted.map(|entry| entry.value).sum()
        };
        (sum("read"), sum("write"))
    }
}

impl Client {
    /// Samples, one a second.
    ///
    /// # Errors
    /// 404 when there is no such container.
    pub async fn stats(&self, id: &str) -> Result<StreamedBody, ClientError> {
        let target = Target::of(&["containers", id, "stats"]).query("stream", "1");
        self.stream(Method::GET, &target, full(None), None).await
    }

    /// One sample beside another a second before it.
    ///
    /// # Errors
    /// 404 when there is no such container.
    pub async fn stats_once(&self, id: &str) -> Result<ContainerStats, ClientError> {
        let target = Target::of(&["containers", id, "stats"]).query("stream", "0");
        self.fetch(Method::GET, &target).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(json: &str) -> ContainerStats {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn percent_is_of_one_processor() {
        let stats = sample(
            r#"{"cpu_stats":{"cpu_usage":{"total_usage":300},"system_cpu_usage":1000,"online_cpus":2},
                "precpu_stats":{"cpu_usage":{"total_usage":100},"system_cpu_usage":600}}"#,
        );

        assert!((stats.cpu_percent() - 100.0).abs() < 0.001);
    }

    #[test]
    fn a_cache_is_not_counted() {
        let stats = sample(r#"{"memory_stats":{"usage":100,"stats":{"inactive_file":30}}}"#);

        assert_eq!(stats.memory_used(), 70);
    }

    #[test]
    fn a_container_that_does_not_run_uses_nothing() {
        let stats =
            sample(r#"{"memory_stats":{},"blkio_stats":{"io_service_bytes_recursive":null}}"#);

        assert_eq!((stats.memory_used(), stats.block_bytes()), (0, (0, 0)));
        assert!(stats.cpu_percent().abs() < 0.001);
    }
}
