//! The command line of a User Mode Linux guest with vhost-user devices.
//!
//! UML takes its kernel parameters as process arguments. Its console goes to standard output;
//! guest memory is an unlinked file in `TMPDIR`, which must lie on a file system that allows
//! executable mappings.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::spec::MachineSpec;

/// Spares the kernel the calibration of its delay loop, 50 ms of a boot. The value is that of a fast
/// host: a delay may then take longer than asked for on a slower one, never shorter.
const LOOPS_PER_JIFFY: &str = "lpj=20000000";

/// A virtio device served on a vhost-user socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VhostUserDevice {
    /// The socket.
    pub socket: PathBuf,
    /// The virtio device ID (virtio 1.2, section 5).
    pub device_type: u32,
}

/// The arguments of the `linux` executable, in the order in which devices are to be probed.
#[must_use]
pub fn arguments(spec: &MachineSpec, devices: &[VhostUserDevice]) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec![
        format!("mem={}M", spec.memory_bytes >> 20).into(),
        key_value("initrd=", &spec.initramfs),
        // UML's own folder for its pid file; by default it would be ~/.uml.
        key_value("uml_dir=", &spec.run_dir),
        "umid=uml".into(),
        // One console, for the kernel's messages; no terminal, no xterm, no serial line.
        "con0=null,fd:1".into(),
        "con=null".into(),
        "ssl=null".into(),
        "quiet".into(),
        LOOPS_PER_JIFFY.into(),
        "random.trust_cpu=on".into(),
        "cgroup_no_v1=all".into(),
    ];
    arguments.extend(devices.iter().map(|device| {
        let mut argument = key_value("virtio_uml.device=", &device.socket);
        argument.push(format!(":{}", device.device_type));
        argument
    }));
    arguments
}

fn key_value(key: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(key);
    argument.push(path);
    argument
}
