//! Linux capabilities: Docker's default ones, added and dropped.

use crate::container::HostConfig;

/// An unknown capability.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid capability: {0:?}")]
pub struct CapabilityError(String);

/// Every capability of Linux 6.12, in the order of their numbers (`capability.h`).
const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What a container has unless told otherwise (Docker documentation, "Runtime privilege and Linux
/// capabilities").
const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SYS_CHROOT",
    "CAP_MKNOD",
    "CAP_AUDIT_WRITE",
    "CAP_SETFCAP",
];

/// Capabilities of every kind, for a privileged process.
#[must_use]
pub fn all() -> Vec<&'static str> {
    ALL.to_vec()
}

/// What the container's process may have.
///
/// # Errors
/// [`CapabilityError`] on a name that is none.
pub fn granted(host: &HostConfig) -> Result<Vec<&'static str>, CapabilityError> {
    let added = known(&host.cap_add)?;
    let dropped = known(&host.cap_drop)?;
    if host.privileged {
        return Ok(all());
    }
    let add_all = has_all(&host.cap_add);
    let drop_all = has_all(&host.cap_drop);
    let granted = |name: &&str| {
        if added.contains(name) {
            return true;
        }
        if dropped.contains(name) {
            return false;
        }
        add_all || !drop_all && DEFAULT.contains(name)
    };
    Ok(ALL.into_iter().filter(granted).collect())
}

fn has_all(names: &[String]) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case("all"))
}

/// The capabilities of these names, with or without `CAP_`, in either case; `ALL` stands aside.
fn known(names: &[String]) -> Result<Vec<&'static str>, CapabilityError> {
    names
        .iter()
        .filter(|name| !name.eq_ignore_ascii_case("all"))
        .map(|name| {
            let upper = name.to_ascii_uppercase();
            let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
            ALL.into_iter()
                .find(|known| known.strip_prefix("CAP_") == Some(bare))
                .ok_or_else(|| CapabilityError(name.clone()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(add: &[&str], drop: &[&str]) -> HostConfig {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        HostConfig {
            cap_add: owned(add),
            cap_drop: owned(drop),
            ..HostConfig::default()
        }
    }

    #[test]
    fn without_wishes_dockers_default_is_granted() {
        assert_eq!(granted(&host(&[], &[])).unwrap(), DEFAULT);
    }

    #[test]
    fn adds_to_nothing_when_all_is_dropped() {
        let granted = granted(&host(&["net_admin"], &["ALL"])).unwrap();

        assert_eq!(granted, ["CAP_NET_ADMIN"]);
    }

    #[test]
    fn drops_from_all() {
        let granted = granted(&host(&["ALL"], &["CAP_SYS_ADMIN"])).unwrap();

        assert_eq!(granted.len(), ALL.len() - 1);
    }

    #[test]
    fn refuses_what_is_no_capability() {
        assert_eq!(
            granted(&host(&["fly"], &[])),
            Err(CapabilityError("fly".to_owned()))
        );
    }
}
