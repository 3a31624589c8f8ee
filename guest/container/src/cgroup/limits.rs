//! OCI's `linux.resources` as writes to the files of a cgroup v2 group.
//!
//! A limit whose controller the kernel lacks is discarded with a warning, as Docker does; a limit
//! that the kernel refuses is an error.

use std::path::Path;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};
use rustix::io::Errno;

use super::{Cgroup, CgroupError, write_file};

/// The period of a CPU quota where none is given, in microseconds: the kernel's default.
const DEFAULT_CPU_PERIOD_US: u64 = 100_000;

/// Why limits cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// The swap limit is below the memory limit.
    #[error("memory+swap limit {swap} is smaller than memory limit {memory}")]
    SwapBelowMemory {
        /// Memory and swap together, in bytes.
        swap: i64,
        /// Memory, in bytes.
        memory: i64,
    },
    /// A name in `unified` that is no file of a group.
    #[error("{0:?} is not a cgroup v2 file name")]
    UnifiedName(String),
    /// A file cannot be written.
    #[error("failed to set a resource limit")]
    Write(#[source] CgroupError),
}

/// One write to a group's file.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    file: String,
    value: String,
    /// What is discarded where the file is missing.
    what: &'static str,
}

/// Sets the limits of a group; returns warnings about those that were discarded.
pub(crate) fn apply(
    cgroup: &Cgroup,
    resources: &LinuxResources,
) -> Result<Vec<String>, LimitError> {
    apply_all(&cgroup.path, &settings(resources)?)
}

fn apply_all(group: &Path, settings: &[Setting]) -> Result<Vec<String>, LimitError> {
    let mut warnings = Vec::new();
    for setting in settings {
        let path = group.join(&setting.file);
        match write_file(&path, &setting.value) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::ACCESS) => warnings.push(format!(
                "Your kernel does not support {} or the cgroup is not mounted. Limitation discarded.",
                setting.what
            )),
            Err(errno) => {
                let value = setting.value.clone();
                return Err(LimitError::Write(CgroupError::Write { path, value, errno }));
            }
        }
    }
    Ok(warnings)
}

/// What is to be written, in order.
fn settings(resources: &LinuxResources) -> Result<Vec<Setting>, LimitError> {
    let mut settings = Vec::new();
    let mut set = |file: &str, value: String, what: &'static str| {
        settings.push(Setting {
            file: file.to_owned(),
            value,
            what,
        });
    };
    if let Some(memory) = resources.memory() {
        memory_settings(memory, &mut set)?;
    }
    if let Some(cpu) = resources.cpu() {
        cpu_settings(cpu, &mut set);
    }
    if let Some(pids) = resources.pids() {
        // Docker: 0 is unset, anything below is unlimited.
        if pids.limit() != 0 {
            set(
                "pids.max",
                number_or_max(pids.limit()),
                "pids limit capabilities",
            );
        }
    }
    if let Some(io) = resources.block_io() {
        io_settings(io, &mut set);
    }
    for (file, value) in resources.unified().iter().flatten() {
        // Only files of this very group, and none that move processes or delegate.
        let plain = file.contains('.') && !file.contains('/') && !file.starts_with("cgroup.");
        if !plain {
            return Err(LimitError::UnifiedName(file.clone()));
        }
        set(file, value.clone(), "this cgroup setting");
    }
    Ok(settings)
}

fn number_or_max(value: i64) -> String {
    if value < 0 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

fn memory_settings(
    memory: &LinuxMemory,
    set: &mut impl FnMut(&str, String, &'static str),
) -> Result<(), LimitError> {
    let limit = memory.limit().filter(|limit| *limit != 0);
    if let Some(swap) = memory.swap().filter(|swap| *swap != 0) {
        // OCI counts memory and swap together, cgroup v2 swap alone.
        let swap_alone = match limit {
            Some(limit) if swap > 0 && limit > 0 => {
                if swap < limit {
                    return Err(LimitError::SwapBelowMemory {
                        swap,
                        memory: limit,
                    });
                }
                swap - limit
            }
            _ => swap,
        };
        set(
            "memory.swap.max",
            number_or_max(swap_alone),
            "swap limit capabilities",
        );
    }
    if let Some(limit) = limit {
        set(
            "memory.max",
            number_or_max(limit),
            "memory limit capabilities",
        );
    }
    if let Some(reservation) = memory.reservation().filter(|bytes| *bytes != 0) {
        set(
            "memory.low",
            number_or_max(reservation),
            "memory soft limit capabilities",
        );
    }
    Ok(())
}

fn cpu_settings(cpu: &LinuxCpu, set: &mut impl FnMut(&str, String, &'static str)) {
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        set(
            "cpu.weight",
            weight_of_shares(shares).to_string(),
            "CPU shares",
        );
    }
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    if quota.is_some() || period.is_some() {
        let quota = quota.filter(|quota| *quota > 0);
        let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        let period = period.unwrap_or(DEFAULT_CPU_PERIOD_US);
        set("cpu.max", format!("{quota} {period}"), "CPU CFS quota");
    }
    if let Some(burst) = cpu.burst() {
        set("cpu.max.burst", burst.to_string(), "CPU CFS burst");
    }
    if let Some(idle) = cpu.idle() {
        set("cpu.idle", idle.to_string(), "CPU idle");
    }
    if let Some(cpus) = cpu.cpus().as_ref().filter(|cpus| !cpus.is_empty()) {
        set("cpuset.cpus", cpus.clone(), "cpuset");
    }
    if let Some(mems) = cpu.mems().as_ref().filter(|mems| !mems.is_empty()) {
        set("cpuset.mems", mems.clone(), "cpuset");
    }
}

/// Shares (2 to 262144) as a weight (1 to 10000), the way runc and crun do it (`cgroups.7`,
/// containers/crun's "cgroup v2" page).
fn weight_of_shares(shares: u64) -> u64 {
    let shares = shares.clamp(2, 262_144);
    1 + ((shares - 2) * 9_999) / 262_142
}

fn io_settings(io: &LinuxBlockIo, set: &mut impl FnMut(&str, String, &'static str)) {
    if let Some(weight) = io.weight().filter(|weight| *weight != 0) {
        // 10 to 1000 becomes 1 to 10000.
        let weight = 1 + (u64::from(weight).clamp(10, 1000) - 10) * 9_999 / 990;
        set("io.weight", weight.to_string(), "block I/O weight");
    }
    let throttles = [
        ("rbps", io.throttle_read_bps_device()),
        ("wbps", io.throttle_write_bps_device()),
        ("riops", io.throttle_read_iops_device()),
        ("wiops", io.throttle_write_iops_device()),
    ];
    for (key, devices) in throttles {
        for device in devices.iter().flatten() {
            let (major, minor) = (device.major(), device.minor());
            let value = format!("{major}:{minor} {key}={}", device.rate());
            set("io.max", value, "block I/O throttling");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings_of(json: &str) -> Vec<(String, String)> {
        let resources: LinuxResources = serde_json::from_str(json).unwrap();
        let settings = settings(&resources).unwrap();
        settings
            .into_iter()
            .map(|setting| (setting.file, setting.value))
            .collect()
    }

    fn pair(file: &str, value: &str) -> (String, String) {
        (file.to_owned(), value.to_owned())
    }

    #[test]
    fn swap_is_counted_without_memory() {
        let settings = settings_of(r#"{"memory":{"limit":1000,"swap":1500}}"#);

        assert_eq!(
            settings,
            [pair("memory.swap.max", "500"), pair("memory.max", "1000")]
        );
    }

    #[test]
    fn unlimited_swap_is_max() {
        let settings = settings_of(r#"{"memory":{"limit":1000,"swap":-1}}"#);

        assert_eq!(settings[0], pair("memory.swap.max", "max"));
    }

    #[test]
    fn refuses_swap_below_memory() {
        let resources = serde_json::from_str(r#"{"memory":{"limit":1000,"swap":500}}"#).unwrap();

        let error = settings(&resources).unwrap_err();

        assert!(matches!(
            error,
            LimitError::SwapBelowMemory {
                swap: 500,
                memory: 1000
            }
        ));
    }

    #[test]
    fn a_quota_has_a_period() {
        assert_eq!(
            settings_of(r#"{"cpu":{"quota":50000}}"#),
            [pair("cpu.max", "50000 100000")]
        );
    }

    #[test]
    fn shares_span_the_weights() {
        assert_eq!(weight_of_shares(2), 1);
        assert_eq!(weight_of_shares(1024), 39);
        assert_eq!(weight_of_shares(u64::MAX), 10_000);
    }

    #[test]
    fn zero_is_unset() {
        let settings = settings_of(
            r#"{"memory":{"limit":0},"cpu":{"shares":0,"quota":0},"pids":{"limit":0}}"#,
        );

        assert!(settings.is_empty());
    }

    #[test]
    fn a_missing_controller_is_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let resources = serde_json::from_str(r#"{"pids":{"limit":5}}"#).unwrap();

        let warnings = apply_all(folder.path(), &settings(&resources).unwrap()).unwrap();

        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("pids limit"));
    }

    #[test]
    fn refuses_to_write_outside_the_group() {
        let resources = serde_json::from_str(r#"{"unified":{"../memory.max":"1"}}"#).unwrap();

        assert!(matches!(
            settings(&resources),
            Err(LimitError::UnifiedName(_))
        ));
    }

    #[test]
    fn refuses_to_move_processes() {
        let resources = serde_json::from_str(r#"{"unified":{"cgroup.procs":"1"}}"#).unwrap();

        assert!(matches!(
            settings(&resources),
            Err(LimitError::UnifiedName(_))
        ));
    }
}
