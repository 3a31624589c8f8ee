//! Limits of the cgroup.

use serde_json::{Map, Value, json};

use super::devices;
use crate::container::Resources;

/// Docker's floor: less memory than this starts nothing.
const MIN_MEMORY_BYTES: i64 = 6 * 1024 * 1024;

/// The scheduler's usual period, which `--cpus` is a part of.
const CPU_PERIOD_MICROSECONDS: i64 = 100_000;

/// Nanoseconds in the microsecond that quotas count.
const NANOSECONDS_PER_CPU: i64 = 1_000_000_000;

/// Swap without limit.
const UNLIMITED: i64 = -1;

/// Why a limit was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Too little memory.
    #[error("Minimum memory limit allowed is 6MB")]
    MemoryTooSmall,
    /// Swap is counted together with memory.
    #[error("Minimum memoryswap limit should be larger than memory limit, see usage")]
    SwapBelowMemory,
    /// Swap alone means nothing.
    #[error("You should always set the Memory limit when using Memoryswap limit, see usage")]
    SwapWithoutMemory,
    /// The soft limit lies below the hard one.
    #[error("Minimum memory limit can not be less than memory reservation limit, see usage")]
    ReservationAboveMemory,
    /// Two ways to say the same.
    #[error("Conflicting options: Nano CPUs and CPU Period or Quota cannot both be set")]
    CpusTwice,
    /// A negative number where none makes sense.
    #[error("invalid {name}: {value}")]
    OutOfRange {
        /// Which limit.
        name: &'static str,
        /// What was asked for.
        value: i64,
    },
}

/// The `linux.resources` object.
pub(crate) fn resources(resources: &Resources, privileged: bool) -> Result<Value, LimitError> {
    Ok(json!({
        "devices": devices::rules(privileged),
        "memory": memory(resources)?,
        "cpu": cpu(resources)?,
        "pids": pids(resources),
    }))
}

fn memory(resources: &Resources) -> Result<Value, LimitError> {
    let Resources {
        memory,
        memory_swap,
        memory_reservation,
        ..
    } = *resources;
    if memory != 0 && memory < MIN_MEMORY_BYTES {
        return Err(LimitError::MemoryTooSmall);
    }
    if memory == 0 && memory_swap > 0 {
        return Err(LimitError::SwapWithoutMemory);
    }
    if memory > 0 && memory_swap > 0 && memory_swap < memory {
        return Err(LimitError::SwapBelowMemory);
    }
    if memory > 0 && memory_reservation > memory {
        return Err(LimitError::ReservationAboveMemory);
    }
    let mut object = Map::new();
    if memory > 0 {
        object.insert("limit".to_owned(), memory.into());
        // Docker's default: as much swap again.
        let swap = if memory_swap == 0 {
            memory * 2
        } else {
            memory_swap
        };
        object.insert("swap".to_owned(), swap.max(UNLIMITED).into());
    }
    if memory_reservation > 0 {
        object.insert("reservation".to_owned(), memory_reservation.into());
    }
    Ok(object.into())
}

fn cpu(resources: &Resources) -> Result<Value, LimitError> {
    let positive = |name, value| {
        if value < 0 {
            Err(LimitError::OutOfRange { name, value })
        } else {
            Ok(value)
        }
    };
    let nano_cpus = positive("CPUs", resources.nano_cpus)?;
    let shares = positive("CPU shares", resources.cpu_shares)?;
    let mut period = positive("CPU period", resources.cpu_period)?;
    let mut quota = resources.cpu_quota;
    if nano_cpus > 0 {
        if period != 0 || quota != 0 {
            return Err(LimitError::CpusTwice);
        }
        period = CPU_PERIOD_MICROSECONDS;
        quota = nano_cpus / (NANOSECONDS_PER_CPU / CPU_PERIOD_MICROSECONDS);
    }
    let mut object = Map::new();
    for (key, value) in [("shares", shares), ("period", period), ("quota", quota)] {
        if value != 0 {
            object.insert(key.to_owned(), value.into());
        }
    }
    for (key, value) in [
        ("cpus", &resources.cpuset_cpus),
        ("mems", &resources.cpuset_mems),
    ] {
        if !value.is_empty() {
            object.insert(key.to_owned(), value.as_str().into());
        }
    }
    Ok(object.into())
}

fn pids(resources: &Resources) -> Value {
    match resources.pids_limit {
        0 => Value::Null,
        limit => json!({"limit": limit.max(UNLIMITED)}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_as_much_again_unless_said() {
        let limits = Resources {
            memory: 64 << 20,
            ..Resources::default()
        };

        assert_eq!(memory(&limits).unwrap()["swap"], 128 << 20);
    }

    #[test]
    fn cpus_become_a_quota() {
        let limits = Resources {
            nano_cpus: 1_500_000_000,
            ..Resources::default()
        };

        let cpu = cpu(&limits).unwrap();

        assert_eq!(
            (&cpu["quota"], &cpu["period"]),
            (&json!(150_000), &json!(100_000))
        );
    }

    #[test]
    fn refuses_limits_that_make_no_sense() {
        let with = |memory_bytes, memory_swap| Resources {
            memory: memory_bytes,
            memory_swap,
            ..Resources::default()
        };

        assert_eq!(memory(&with(1024, 0)), Err(LimitError::MemoryTooSmall));
        assert_eq!(
            memory(&with(64 << 20, 32 << 20)),
            Err(LimitError::SwapBelowMemory)
        );
        assert_eq!(
            memory(&with(0, 32 << 20)),
            Err(LimitError::SwapWithoutMemory)
        );
    }
}
