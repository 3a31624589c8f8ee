//! `GET /containers/{id}/stats`.

use dhow_engine::Timestamp;
use dhow_engine::container::Container;
use dhow_engine::verb::stats::{BlockUsage, CpuUsage, InterfaceUsage, MemoryUsage, Sample, Usage};
use serde_json::{Map, Value, json};

/// Docker's time where there is none.
const NEVER: &str = "0001-01-01T00:00:00Z";

const NANOSECONDS_PER_MICROSECOND: u64 = 1000;

/// One sample beside the one before it. A container that does not run has zeros, as with Docker.
pub(crate) fn stats(container: &Container, before: Option<&Sample>, now: &Sample) -> Value {
    let nothing = Usage::default();
    let usage = now.usage.as_ref().unwrap_or(&nothing);
    let cpu_before = before.and_then(|sample| sample.usage.as_ref());
    let time = |at: Timestamp| at.to_string();
    let runs = now.usage.is_some();
    json!({
        "id": container.id().to_string(),
        "name": format!("/{}", container.name()),
        "os_type": "linux",
        "read": if runs { time(now.read) } else { NEVER.to_owned() },
        "preread": before.filter(|_| runs).map_or(NEVER.to_owned(), |sample| time(sample.read)),
        "num_procs": 0,
        "storage_stats": {},
        "pids_stats": pids(usage),
        "cpu_stats": cpu(runs.then_some(&usage.cpu)),
        "precpu_stats": cpu(cpu_before.map(|usage| &usage.cpu)),
        "memory_stats": memory(runs.then_some(&usage.memory), now.machine_memory_bytes),
        "blkio_stats": blocks(&usage.blocks),
        "networks": networks(&usage.interfaces),
    })
}

fn pids(usage: &Usage) -> Value {
    let mut object = Map::new();
    if usage.processes > 0 {
        object.insert("current".to_owned(), usage.processes.into());
        // Docker's number for no limit.
        let limit = usage.processes_limit.unwrap_or(u64::MAX);
        object.insert("limit".to_owned(), limit.into());
    }
    object.into()
}

fn cpu(cpu: Option<&CpuUsage>) -> Value {
    let nothing = CpuUsage::default();
    let known = cpu.is_some();
    let cpu = cpu.unwrap_or(&nothing);
    let nanoseconds = |us: u64| us.saturating_mul(NANOSECONDS_PER_MICROSECOND);
    let mut object = json!({
        "cpu_usage": {
            "total_usage": nanoseconds(cpu.total_us),
            "usage_in_kernelmode": nanoseconds(cpu.system_us),
            "usage_in_usermode": nanoseconds(cpu.user_us),
        },
        "throttling_data": {
            "periods": cpu.periods,
            "throttled_periods": cpu.throttled_periods,
            "throttled_time": nanoseconds(cpu.throttled_us),
        },
    });
    if known {
        object["system_cpu_usage"] = cpu.machine_ns.into();
        object["online_cpus"] = cpu.cpus.into();
    }
    object
}

fn memory(memory: Option<&MemoryUsage>, machine_bytes: u64) -> Value {
    let Some(memory) = memory else {
        return json!({});
    };
    let details: Map<String, Value> = memory
        .details
        .iter()
        .map(|(name, value)| (name.clone(), (*value).into()))
        .collect();
    json!({
        "usage": memory.used,
        "limit": memory.limit.unwrap_or(machine_bytes).min(machine_bytes),
        "stats": details,
    })
}

fn blocks(blocks: &[BlockUsage]) -> Value {
    let entries = |read: fn(&BlockUsage) -> u64, written: fn(&BlockUsage) -> u64| {
        let entry = |block: &BlockUsage, operation: &str, value: u64| json!({"major": block.major, "minor": block.minor, "op": operation, "value": value});
        let both = blocks.iter().flat_map(|block| {
            [
                entry(block, "read", read(block)),
                entry(block, "write", written(block)),
            ]
        });
        let list: Vec<Value> = both.collect();
        if list.is_empty() {
            Value::Null
        } else {
            list.into()
        }
    };
    json!({
        "io_service_bytes_recursive": entries(|block| block.read_bytes, |block| block.written_bytes),
        "io_serviced_recursive": entries(|block| block.reads, |block| block.writes),
        "io_queue_recursive": null,
        "io_service_time_recursive": null,
        "io_wait_time_recursive": null,
        "io_merged_recursive": null,
        "io_time_recursive": null,
        "sectors_recursive": null,
    })
}

fn networks(interfaces: &[InterfaceUsage]) -> Value {
    let one = |interface: &InterfaceUsage| {
        let counters = json!({
            "rx_bytes": interface.received_bytes,
            "rx_packets": interface.received_packets,
            "rx_errors": interface.received_errors,
            "rx_dropped": interface.received_dropped,
            "tx_bytes": interface.sent_bytes,
            "tx_packets": interface.sent_packets,
            "tx_errors": interface.sent_errors,
            "tx_dropped": interface.sent_dropped,
        });
        (interface.name.clone(), counters)
    };
    Value::Object(interfaces.iter().map(one).collect())
}
