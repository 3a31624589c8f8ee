//! Why KVM cannot be used here, and what a user can do about it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use nix::errno::Errno;

use super::machine::ProbeError;

/// The device.
const DEVICE: &str = "/dev/kvm";
/// Permission bits that let a group read and write.
const GROUP_READ_WRITE: u32 = 0o060;

/// Who may open `/dev/kvm`, as far as can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoPermission {
    /// The group that may, if it is one that a user can join.
    pub group: Option<String>,
    /// What gives this user the right, to be typed as it is.
    pub command: String,
}

/// Why KVM cannot be used here.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// There is no device.
    #[error("there is no {DEVICE}")]
    NoDevice,
    /// This user may not open it.
    #[error("this user may not open {DEVICE}")]
    NoPermission(NoPermission),
    /// It cannot be opened for another reason.
    #[error("failed to open {DEVICE}")]
    Open(#[source] io::Error),
    /// The host's kernel lacks something that a machine needs.
    #[error("this host's KVM is too old: {what}")]
    TooOld {
        /// What is missing.
        what: String,
    },
    /// Not even a small machine can be made.
    #[error("failed to make a machine to try KVM with")]
    Machine(#[source] ProbeError),
    /// A guest that does what every kernel does was stopped.
    #[error("this KVM cannot run a stock kernel: a guest could not {what}: {why}")]
    CannotRunStockKernel {
        /// What the guest was about to do.
        what: &'static str,
        /// What became of it.
        why: String,
    },
    /// A guest that does what every kernel does did not finish.
    #[error("this KVM cannot run a stock kernel: a guest could not {what} within {} ms", budget.as_millis())]
    TimedOut {
        /// How long it had.
        budget: Duration,
        /// What the guest was about to do.
        what: &'static str,
    },
    /// The signal that ends an attempt could not be set up.
    #[error("failed to set up the signal that interrupts virtual CPUs")]
    Signal(#[source] io::Error),
    /// The thread of the attempt could not be started.
    #[error("failed to start a thread to try KVM on")]
    Thread(#[source] io::Error),
}

impl Unusable {
    /// What the user can do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoDevice => Some(
                "switch virtualisation on in the firmware (or nested virtualisation in the host \
                 of this machine), then `sudo modprobe kvm-intel` or `sudo modprobe kvm-amd`"
                    .to_owned(),
            ),
            Self::NoPermission(permission) => Some(permission.command.clone()),
            Self::TooOld { .. } => Some("use a newer kernel on this host".to_owned()),
            Self::CannotRunStockKernel { .. } | Self::TimedOut { .. } => Some(
                "this is most likely a KVM in software: the UML engine runs without it".to_owned(),
            ),
            Self::Open(_) | Self::Machine(_) | Self::Signal(_) | Self::Thread(_) => None,
        }
    }
}

/// Tells apart why `/dev/kvm` could not be opened.
pub(super) fn explain_open(error: kvm_ioctls::Error) -> Unusable {
    match Errno::from_raw(error.errno()) {
        Errno::ENOENT | Errno::ENODEV | Errno::ENXIO => Unusable::NoDevice,
        Errno::EACCES | Errno::EPERM => Unusable::NoPermission(explain_permission()),
        _ => Unusable::Open(io::Error::from_raw_os_error(error.errno())),
    }
}

fn explain_permission() -> NoPermission {
    let user = std::env::var("USER").unwrap_or_else(|_unset| "$(id -un)".to_owned());
    let (mode, group) = fs::metadata(DEVICE).map_or((0, 0), |meta| (meta.mode(), meta.gid()));
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    permission(&user, mode, group, &groups)
}

/// What `user` must do where the device has this mode and group, given `/etc/group`.
fn permission(user: &str, mode: u32, group: u32, groups: &str) -> NoPermission {
    let name = group_name(groups, group).filter(|_name| {
        // Root's group is not one to join, and one that may not write is of no use.
        group != 0 && mode & GROUP_READ_WRITE == GROUP_READ_WRITE
    });
    let command = match name {
        Some(name) => format!("sudo usermod --append --groups {name} {user}, then log in again"),
        None => format!(
            "sudo chgrp kvm {DEVICE} && sudo chmod 0660 {DEVICE} && sudo usermod --append --groups kvm {user}, then log in again"
        ),
    };
    NoPermission {
        group: name.map(str::to_owned),
        command,
    }
}

/// The name of a group, from lines of `name:password:number:members`.
fn group_name(groups: &str, number: u32) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let found = fields.nth(1)?.parse::<u32>().ok()?;
        (found == number).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUPS: &str = "root:x:0:\nkvm:x:104:\n";

    #[test]
    fn names_the_group_to_join() {
        let permission = permission("ada", 0o20_660, 104, GROUPS);

        assert_eq!(permission.group.as_deref(), Some("kvm"));
        assert_eq!(
            permission.command,
            "sudo usermod --append --groups kvm ada, then log in again"
        );
    }

    #[test]
    fn asks_for_a_group_where_only_root_may() {
        let permission = permission("ada", 0o20_600, 0, GROUPS);

        assert_eq!(permission.group, None);
        assert!(
            permission.command.contains("sudo chgrp kvm /dev/kvm"),
            "{}",
            permission.command
        );
    }

    #[test]
    fn explains_a_host_without_the_device() {
        let unusable = explain_open(kvm_ioctls::Error::new(nix::libc::ENOENT));

        assert!(matches!(unusable, Unusable::NoDevice), "{unusable:?}");
    }
}
