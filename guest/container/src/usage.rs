//! What a running container uses: the counters of its cgroup and of its network namespace.

use std::fs;

use dhow_protocol::{
    BlockUsage, CpuUsage, Failure, FailureKind, InterfaceUsage, MemoryUsage, Usage,
};

use crate::cgroup::CgroupError;
use crate::container::LookupError;
use crate::runtime::Runtime;

/// The most network interfaces told of.
const MAX_INTERFACES: usize = 64;

/// The most block devices told of.
const MAX_BLOCK_DEVICES: usize = 64;

/// Nanoseconds of a tick of `/proc/stat` (`sysconf(_SC_CLK_TCK)` is 100).
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

/// Numbers of the `cpu` line of `/proc/stat` that Docker adds up: user to softirq and steal; guest
/// time is part of user time (moby, `daemon/stats`).
const CPU_NUMBERS: usize = 8;

/// Why usage was not told.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// There is no such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A counter cannot be read.
    #[error("failed to read what container {container} uses")]
    Read {
        /// The container.
        container: String,
        /// Why.
        #[source]
        source: CgroupError,
    },
}

impl UsageError {
    /// The error as the host is told it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let kind = match self {
            Self::Lookup(error) => error.kind(),
            Self::Read { .. } => FailureKind::Internal,
        };
        crate::failure(kind, self)
    }
}

impl Runtime {
    /// What a running container uses now.
    ///
    /// # Errors
    /// [`UsageError`].
    pub fn usage(&self, container: &str) -> Result<Usage, UsageError> {
        let found = self.register.get(container)?;
        let file = |name: &str| found.cgroup.file(name);
        let must = |name: &str| {
            file(name).map_err(|source| UsageError::Read {
                container: container.to_owned(),
                source,
            })
        };
        // A controller that the kernel lacks has no file: nothing is known then.
        let may = |name: &str| file(name).unwrap_or_default();
        let machine = fs::read_to_string("/proc/stat").unwrap_or_default();
        let net = fs::read_to_string(format!("/proc/{}/net/dev", found.pid)).unwrap_or_default();
        Ok(Usage {
            cpu: cpu(&must("cpu.stat")?, &machine),
            memory: MemoryUsage {
                used: number(&may("memory.current")),
                limit: limit(&may("memory.max")),
                peak: number(&may("memory.peak")),
                details: pairs(&may("memory.stat")),
            },
            processes: number(&may("pids.current")),
            processes_limit: limit(&may("pids.max")),
            blocks: blocks(&may("io.stat")),
            interfaces: interfaces(&net),
        })
    }
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

/// `max` is no limit.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Lines of a name and a number.
fn pairs(text: &str) -> Vec<(String, u64)> {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .map(|(name, value)| (name.to_owned(), number(value)))
        .collect()
}

fn value_of(pairs: &[(String, u64)], name: &str) -> u64 {
    let found = pairs.iter().find(|(known, _)| known == name);
    found.map_or(0, |(_, value)| *value)
}

fn cpu(stat: &str, machine: &str) -> CpuUsage {
    let pairs = pairs(stat);
    let value = |name| value_of(&pairs, name);
    let machine_line = machine.lines().next().unwrap_or_default();
    let ticks: u64 = machine_line
        .split_whitespace()
        .skip(1)
        .take(CPU_NUMBERS)
        .map(number)
        .sum();
    let is_cpu = |line: &&str| {
        let digits = line.strip_prefix("cpu");
        digits.is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()))
    };
    let cpus = machine.lines().filter(is_cpu).count();
    CpuUsage {
        total_us: value("usage_usec"),
        user_us: value("user_usec"),
        system_us: value("system_usec"),
        periods: value("nr_periods"),
        throttled_periods: value("nr_throttled"),
        throttled_us: value("throttled_usec"),
        machine_ns: ticks * NANOSECONDS_PER_TICK,
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
    }
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`
fn blocks(text: &str) -> Vec<BlockUsage> {
    let parse = |line: &str| {
        let (device, rest) = line.split_once(' ')?;
        let (major, minor) = device.split_once(':')?;
        let value = |wanted: &str| {
            let mut values = rest.split(' ').filter_map(|part| part.split_once('='));
            let found = values.find(|(name, _)| *name == wanted);
            found.map_or(0, |(_, value)| number(value))
        };
        Some(BlockUsage {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            read_bytes: value("rbytes"),
            written_bytes: value("wbytes"),
            reads: value("rios"),
            writes: value("wios"),
        })
    };
    text.lines()
        .filter_map(parse)
        .take(MAX_BLOCK_DEVICES)
        .collect()
}

/// `/proc/PID/net/dev` after its two lines of titles; the loopback is nobody's traffic.
fn interfaces(text: &str) -> Vec<InterfaceUsage> {
    let parse = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let numbers: Vec<u64> = rest.split_whitespace().map(number).collect();
        let value = |at: usize| numbers.get(at).copied().unwrap_or(0);
        Some(InterfaceUsage {
            name: name.trim().to_owned(),
            received_bytes: value(0),
            received_packets: value(1),
            received_errors: value(2),
            received_dropped: value(3),
            sent_bytes: value(8),
            sent_packets: value(9),
            sent_errors: value(10),
            sent_dropped: value(11),
        })
    };
    text.lines()
        .skip(2)
        .filter_map(parse)
        .filter(|interface| interface.name != "lo")
        .take(MAX_INTERFACES)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_name() {
        let stat = "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_throttled 2\n";
        let machine = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 0\n";

        let cpu = cpu(stat, machine);

        assert_eq!(
            (cpu.total_us, cpu.user_us, cpu.throttled_periods),
            (30, 20, 2)
        );
        assert_eq!((cpu.machine_ns, cpu.cpus), (36 * NANOSECONDS_PER_TICK, 1));
    }

    #[test]
    fn devices_are_told_apart() {
        let blocks = blocks("254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n254:16 \n");

        assert_eq!(blocks.len(), 2);
        assert_eq!((blocks[0].written_bytes, blocks[0].reads), (2, 3));
    }

    #[test]
    fn the_loopback_is_left_out() {
        let text = "Inter-| Receive | Transmit\n face |bytes\n    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n  \
                    eth0: 100 2 0 1 0 0 0 0 200 3 0 0 0 0 0 0\n";

        let interfaces = interfaces(text);

        assert_eq!(interfaces.len(), 1);
        assert_eq!(interfaces[0].received_dropped, 1);
        assert_eq!(
            (interfaces[0].sent_bytes, interfaces[0].sent_packets),
            (200, 3)
        );
    }

    #[test]
    fn no_limit_is_none() {
        assert_eq!(limit("max\n"), None);
        assert_eq!(limit("5\n"), Some(5));
    }
}
