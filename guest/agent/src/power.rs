//! The end of the machine.

use std::env;
use std::time::Duration;

use dhow_container::Runtime;
use nix::mount::{MntFlags, umount2};
use nix::sys::reboot::{RebootMode, reboot};

use crate::boot;

/// Set to `reset` on the kernel's command line where nothing but a reset ends the VM: our KVM
/// machines have no ACPI, and the VMM takes a reset through the keyboard controller as the end.
const POWER_OFF_VARIABLE: &str = "DHOW_POWER_OFF";

/// Ends every container and brings the data disk to rest.
pub(crate) fn quiesce(runtime: &Runtime, grace: Duration) {
    if let Err(error) = runtime.shutdown(grace) {
        boot::complain(&anyhow::Error::new(error).context("failed to end the containers"));
    }
    nix::unistd::sync();
    if let Err(error) = umount2(boot::data_mount(), MntFlags::MNT_DETACH) {
        boot::complain(&anyhow::Error::new(error).context("failed to unmount the data disk"));
    }
    nix::unistd::sync();
}

/// Ends the machine. What follows a failed reboot is the panic of a machine without PID 1, which
/// ends it too (`panic=-1`).
pub(crate) fn off() {
    let mode = match env::var(POWER_OFF_VARIABLE).as_deref() {
        Ok("reset") => RebootMode::RB_AUTOBOOT,
        _ => RebootMode::RB_POWER_OFF,
    };
    let Err(error) = reboot(mode);
    boot::complain(&anyhow::Error::new(error).context("failed to power off"));
}
