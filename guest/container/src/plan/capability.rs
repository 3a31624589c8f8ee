//! OCI's capability names as the kernel's bits.

use oci_spec::runtime::{Capability, LinuxCapabilities};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::spawn::Step;

/// The steps that give a process its capabilities: the bounding set first, while it still may.
#[derive(Debug)]
pub(crate) struct CapabilitySteps {
    /// Before the user changes.
    pub(crate) before_user: Option<Step>,
    /// After the user has changed.
    pub(crate) after_user: Step,
}

/// Plans capabilities; `known` is a mask of those the kernel has.
pub(crate) fn plan(capabilities: Option<&LinuxCapabilities>, known: u64) -> CapabilitySteps {
    let mask = |pick: fn(&LinuxCapabilities) -> &Option<oci_spec::runtime::Capabilities>| {
        let set = capabilities.and_then(|sets| pick(sets).as_ref());
        known
            & set.map_or(0, |set| {
                set.iter()
                    .map(|one| bit(*one))
                    .fold(0, |all, bit| all | bit)
            })
    };
    let permitted = mask(LinuxCapabilities::permitted);
    let inheritable = mask(LinuxCapabilities::inheritable);
    let dropped = known & !mask(LinuxCapabilities::bounding);
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(mask(LinuxCapabilities::effective) & permitted),
        permitted: CapabilitySet::from_bits_retain(permitted),
        inheritable: CapabilitySet::from_bits_retain(inheritable),
    };
    // The kernel takes an ambient capability only where it is permitted and inheritable.
    let ambient = mask(LinuxCapabilities::ambient) & permitted & inheritable;
    CapabilitySteps {
        before_user: (dropped != 0).then_some(Step::DropBounding(dropped)),
        after_user: Step::Capabilities { sets, ambient },
    }
}

/// A capability's bit: its number in `linux/capability.h`.
fn bit(capability: Capability) -> u64 {
    let set = match capability {
        Capability::Chown => CapabilitySet::CHOWN,
        Capability::DacOverride => CapabilitySet::DAC_OVERRIDE,
        Capability::DacReadSearch => CapabilitySet::DAC_READ_SEARCH,
        Capability::Fowner => CapabilitySet::FOWNER,
        Capability::Fsetid => CapabilitySet::FSETID,
        Capability::Kill => CapabilitySet::KILL,
        Capability::Setgid => CapabilitySet::SETGID,
        Capability::Setuid => CapabilitySet::SETUID,
        Capability::Setpcap => CapabilitySet::SETPCAP,
        Capability::LinuxImmutable => CapabilitySet::LINUX_IMMUTABLE,
        Capability::NetBindService => CapabilitySet::NET_BIND_SERVICE,
        Capability::NetBroadcast => CapabilitySet::NET_BROADCAST,
        Capability::NetAdmin => CapabilitySet::NET_ADMIN,
        Capability::NetRaw => CapabilitySet::NET_RAW,
        Capability::IpcLock => CapabilitySet::IPC_LOCK,
        Capability::IpcOwner => CapabilitySet::IPC_OWNER,
        Capability::SysModule => CapabilitySet::SYS_MODULE,
        Capability::SysRawio => CapabilitySet::SYS_RAWIO,
        Capability::SysChroot => CapabilitySet::SYS_CHROOT,
        Capability::SysPtrace => CapabilitySet::SYS_PTRACE,
        Capability::SysPacct => CapabilitySet::SYS_PACCT,
        Capability::SysAdmin => CapabilitySet::SYS_ADMIN,
        Capability::SysBoot => CapabilitySet::SYS_BOOT,
        Capability::SysNice => CapabilitySet::SYS_NICE,
        Capability::SysResource => CapabilitySet::SYS_RESOURCE,
        Capability::SysTime => CapabilitySet::SYS_TIME,
        Capability::SysTtyConfig => CapabilitySet::SYS_TTY_CONFIG,
        Capability::Mknod => CapabilitySet::MKNOD,
        Capability::Lease => CapabilitySet::LEASE,
        Capability::AuditWrite => CapabilitySet::AUDIT_WRITE,
        Capability::AuditControl => CapabilitySet::AUDIT_CONTROL,
        Capability::Setfcap => CapabilitySet::SETFCAP,
        Capability::MacOverride => CapabilitySet::MAC_OVERRIDE,
        Capability::MacAdmin => CapabilitySet::MAC_ADMIN,
        Capability::Syslog => CapabilitySet::SYSLOG,
        Capability::WakeAlarm => CapabilitySet::WAKE_ALARM,
        Capability::BlockSuspend => CapabilitySet::BLOCK_SUSPEND,
        Capability::AuditRead => CapabilitySet::AUDIT_READ,
        Capability::Perfmon => CapabilitySet::PERFMON,
        Capability::Bpf => CapabilitySet::BPF,
        Capability::CheckpointRestore => CapabilitySet::CHECKPOINT_RESTORE,
    };
    set.bits()
}

/// Whether a process with these capabilities may trace any other it sees.
pub(crate) fn may_trace(capabilities: Option<&LinuxCapabilities>) -> bool {
    capabilities
        .and_then(|sets| sets.bounding().as_ref())
        .is_some_and(|set| set.contains(&Capability::SysPtrace))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All capabilities of Linux 6.12.
    const KNOWN: u64 = (1 << 41) - 1;

    fn parse(json: &str) -> LinuxCapabilities {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_is_not_bounding_is_dropped() {
        let capabilities = parse(r#"{"bounding":["CAP_CHOWN","CAP_KILL"]}"#);

        let steps = plan(Some(&capabilities), KNOWN);

        let expected = KNOWN & !(1 << 0) & !(1 << 5);
        assert!(matches!(steps.before_user, Some(Step::DropBounding(mask)) if mask == expected));
    }

    #[test]
    fn without_capabilities_everything_is_dropped() {
        let steps = plan(None, KNOWN);

        assert!(matches!(steps.before_user, Some(Step::DropBounding(KNOWN))));
    }

    #[test]
    fn an_ambient_capability_needs_the_other_sets() {
        let capabilities = parse(
            r#"{"permitted":["CAP_CHOWN","CAP_KILL"],"inheritable":["CAP_KILL"],
                "ambient":["CAP_CHOWN","CAP_KILL"]}"#,
        );

        let steps = plan(Some(&capabilities), KNOWN);

        assert!(matches!(
            steps.after_user,
            Step::Capabilities { ambient: 0x20, .. }
        ));
    }

    #[test]
    fn capabilities_that_the_kernel_lacks_are_left_out() {
        let capabilities = parse(r#"{"bounding":["CAP_CHECKPOINT_RESTORE"]}"#);

        let steps = plan(Some(&capabilities), 1);

        assert!(matches!(steps.before_user, Some(Step::DropBounding(1))));
    }
}
