//! `--security-opt`, and the paths of `/proc` and `/sys` that a container does not see or change.

use serde_json::Value;

use crate::container::HostConfig;

/// Which system call filter applies.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum SeccompChoice {
    /// Docker's default one.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// One of the user's, as Docker's profiles are written.
    Profile(String),
}

/// What `--security-opt` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Security {
    /// The system call filter.
    pub seccomp: SeccompChoice,
    /// Whether set-uid programs gain nothing.
    pub no_new_privileges: bool,
}

/// Why a security option was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecurityOptionError {
    /// Nobody knows it.
    #[error("invalid --security-opt: {0:?}")]
    Unknown(String),
    /// Docker has it, dhow does not.
    #[error("--security-opt {0} is not supported by dhow")]
    Unsupported(String),
}

/// Hidden from containers: they tell of or reach the kernel beneath (Docker's default list).
const MASKED_PATHS: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];

/// Hidden as well: power readings leak what neighbours compute (CVE-2020-8694).
const MASKED_POWER_PATH: &str = "/sys/devices/virtual/powercap";

/// Seen but not changed by containers (Docker's default list).
const READONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

impl Security {
    /// Reads the options as Docker does: `key=value` or, from older clients, `key:value`.
    ///
    /// # Errors
    /// [`SecurityOptionError`] naming the option.
    pub fn parse(options: &[String]) -> Result<Self, SecurityOptionError> {
        let mut security = Self::default();
        for option in options {
            let (key, value) = option
                .split_once('=')
                .or_else(|| option.split_once(':'))
                .unwrap_or((option, ""));
            match (key, value) {
                ("seccomp", "unconfined") => security.seccomp = SeccompChoice::Unconfined,
                ("seccomp", "builtin") => security.seccomp = SeccompChoice::Default,
                ("no-new-privileges", "" | "true") => security.no_new_privileges = true,
                ("no-new-privileges", "false") => security.no_new_privileges = false,
                ("seccomp", profile) if profile.trim_start().starts_with('{') => {
                    security.seccomp = SeccompChoice::Profile(profile.to_owned());
                }
                // As Docker on a kernel without these modules, which the machine's is.
                ("apparmor" | "label", _) => {}
                ("seccomp" | "writable-cgroups", _) => {
                    return Err(SecurityOptionError::Unsupported(option.clone()));
                }
                _ => return Err(SecurityOptionError::Unknown(option.clone())),
            }
        }
        Ok(security)
    }
}

/// What is hidden.
pub(super) fn masked_paths(host: &HostConfig) -> Value {
    match &host.masked_paths {
        _ if host.privileged => Value::from(Vec::<String>::new()),
        Some(paths) => Value::from(paths.clone()),
        None => MASKED_PATHS
            .into_iter()
            .chain([MASKED_POWER_PATH])
            .collect(),
    }
}

/// What is read-only.
pub(super) fn readonly_paths(host: &HostConfig) -> Value {
    match &host.readonly_paths {
        _ if host.privileged => Value::from(Vec::<String>::new()),
        Some(paths) => Value::from(paths.clone()),
        None => READONLY_PATHS.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_spellings() {
        let options = [
            "seccomp=unconfined".to_owned(),
            "no-new-privileges:true".to_owned(),
        ];

        let security = Security::parse(&options).unwrap();

        assert_eq!(security.seccomp, SeccompChoice::Unconfined);
        assert!(security.no_new_privileges);
    }

    #[test]
    fn refuses_what_it_cannot_do_instead_of_ignoring_it() {
        let refused = |option: &str| Security::parse(&[option.to_owned()]).unwrap_err();

        assert!(matches!(
            refused("writable-cgroups=true"),
            SecurityOptionError::Unsupported(_)
        ));
        assert!(matches!(
            refused("speed=high"),
            SecurityOptionError::Unknown(_)
        ));
    }
}
