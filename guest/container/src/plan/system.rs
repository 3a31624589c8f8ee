//! What a container sees of the system besides mounts: devices, hidden paths, names, parameters.

use std::path::PathBuf;

use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType, Spec};
use rustix::fs::FileType;
use rustix::mount::MountPropagationFlags;
use rustix::process::{Gid, Uid};

use super::namespaces::Namespaces;
use super::{ZeroByte, c_string};
use crate::spawn::Step;

/// Devices that every container has (OCI runtime specification, "Default Devices").
const DEFAULT_DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links that every container has (OCI runtime specification, "Dev symbolic links").
const DEFAULT_LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
];

/// Permissions of a default device.
const DEVICE_PERMISSIONS: u32 = 0o666;

/// Why the system cannot look as asked.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// A text with a zero byte.
    #[error("bad text in the configuration")]
    Text(#[from] ZeroByte),
    /// A device that no kernel has.
    #[error("device {path:?} has no valid type or number")]
    Device {
        /// Where it should be.
        path: PathBuf,
    },
    /// A kernel parameter that is not the container's own.
    #[error("sysctl {0:?} is not in a separate kernel namespace")]
    Sysctl(String),
    /// A propagation that does not exist.
    #[error("rootfs propagation {0:?} is unknown")]
    Propagation(String),
}

/// The steps that fill `/dev`.
pub(crate) fn devices(linux: Option<&Linux>) -> Result<Vec<Step>, SystemError> {
    let mut steps = Vec::new();
    for (path, major, minor) in DEFAULT_DEVICES {
        steps.push(Step::Device {
            path: c_string(path)?,
            mode: FileType::CharacterDevice.as_raw_mode() | DEVICE_PERMISSIONS,
            device: rustix::fs::makedev(major, minor),
            owner: None,
        });
    }
    for device in linux
        .and_then(|linux| linux.devices().as_deref())
        .unwrap_or_default()
    {
        steps.push(extra_device(device)?);
    }
    for (content, path) in DEFAULT_LINKS {
        steps.push(Step::Symlink {
            content: c_string(content)?,
            path: c_string(path)?,
        });
    }
    Ok(steps)
}

fn extra_device(device: &LinuxDevice) -> Result<Step, SystemError> {
    let error = || SystemError::Device {
        path: device.path().clone(),
    };
    let kind = match device.typ() {
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
        LinuxDeviceType::P => FileType::Fifo,
        LinuxDeviceType::A => return Err(error()),
    };
    let major = u32::try_from(device.major()).map_err(|_range| error())?;
    let minor = u32::try_from(device.minor()).map_err(|_range| error())?;
    // Docker sends the whole mode of the node on the host; its type bits are not ours.
    let permissions = device.file_mode().unwrap_or(DEVICE_PERMISSIONS) & PERMISSION_BITS;
    let (uid, gid) = (device.uid().unwrap_or(0), device.gid().unwrap_or(0));
    let path = device.path().to_str().ok_or_else(error)?;
    Ok(Step::Device {
        path: c_string(path)?,
        mode: kind.as_raw_mode() | permissions,
        device: rustix::fs::makedev(major, minor),
        owner: Some((Uid::from_raw(uid), Gid::from_raw(gid))),
    })
}

/// Permissions, set-id and sticky bits of a mode.
const PERMISSION_BITS: u32 = 0o7777;

/// The steps that set names and parameters, and bring up the loopback interface of a network that
/// is made with the process.
pub(crate) fn names(
    spec: &Spec,
    namespaces: &Namespaces,
    bare_network: bool,
) -> Result<Vec<Step>, SystemError> {
    let mut steps = Vec::new();
    if namespaces.own_hostname {
        if let Some(name) = spec.hostname().as_deref().filter(|name| !name.is_empty()) {
            steps.push(Step::HostName(c_string(name)?));
        }
        if let Some(name) = spec.domainname().as_deref().filter(|name| !name.is_empty()) {
            steps.push(Step::DomainName(c_string(name)?));
        }
    }
    if bare_network && namespaces.own_network {
        steps.push(Step::Loopback);
    }
    for (name, value) in spec
        .linux()
        .iter()
        .filter_map(|linux| linux.sysctl().as_ref())
        .flatten()
    {
        check_sysctl(name, namespaces)?;
        let path = format!("/proc/sys/{}", sysctl_path(name));
        steps.push(Step::Sysctl {
            path: c_string(&path)?,
            value: c_string(value)?,
        });
    }
    Ok(steps)
}

/// A parameter's path: dots are slashes, unless it is written with slashes already.
fn sysctl_path(name: &str) -> String {
    if name.contains('/') {
        name.to_owned()
    } else {
        name.replace('.', "/")
    }
}

/// A parameter must belong to a namespace that is the container's own; anything else would change
/// the machine. The list is runc's.
fn check_sysctl(name: &str, namespaces: &Namespaces) -> Result<(), SystemError> {
    let path = sysctl_path(name);
    let ipc = namespaces.clone_flags & u64::from(nix::libc::CLONE_NEWIPC.cast_unsigned()) != 0;
    let of_ipc = path.starts_with("fs/mqueue/") || IPC_PARAMETERS.contains(&path.as_str());
    let of_network = path.starts_with("net/");
    let of_names = matches!(path.as_str(), "kernel/domainname" | "kernel/hostname");
    let climbs = path.split('/').any(|part| part == "..");
    let allowed = (of_ipc && ipc)
        || (of_network && namespaces.own_network)
        || (of_names && namespaces.own_hostname);
    if allowed && !climbs {
        Ok(())
    } else {
        Err(SystemError::Sysctl(name.to_owned()))
    }
}

/// Parameters of an ipc namespace.
const IPC_PARAMETERS: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// The steps that hide and protect paths, last of all mounts.
pub(crate) fn protection(spec: &Spec) -> Result<Vec<Step>, SystemError> {
    let mut steps = Vec::new();
    if let Some(linux) = spec.linux() {
        for path in linux.readonly_paths().iter().flatten() {
            steps.push(Step::ReadOnly(c_string(path)?));
        }
        for path in linux.masked_paths().iter().flatten() {
            steps.push(Step::Mask(c_string(path)?));
        }
        if let Some(propagation) = linux.rootfs_propagation().as_deref() {
            steps.extend(root_propagation(propagation)?);
        }
    }
    if spec
        .root()
        .as_ref()
        .and_then(oci_spec::runtime::Root::readonly)
        == Some(true)
    {
        steps.push(Step::ReadOnlyRoot);
    }
    Ok(steps)
}

fn root_propagation(name: &str) -> Result<Option<Step>, SystemError> {
    let flags = match name {
        "" | "private" | "rprivate" => return Ok(None),
        "shared" | "rshared" => MountPropagationFlags::SHARED,
        "slave" | "rslave" => MountPropagationFlags::DOWNSTREAM,
        "unbindable" | "runbindable" => MountPropagationFlags::UNBINDABLE,
        other => return Err(SystemError::Propagation(other.to_owned())),
    };
    Ok(Some(Step::RootPropagation(flags)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_everything() -> Namespaces {
        Namespaces {
            clone_flags: u64::from(nix::libc::CLONE_NEWIPC.cast_unsigned()),
            own_network: true,
            own_hostname: true,
            ..Namespaces::default()
        }
    }

    fn spec_with_sysctl(name: &str) -> Spec {
        let json = format!(r#"{{"ociVersion":"1.0.2","linux":{{"sysctl":{{"{name}":"1"}}}}}}"#);
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn a_network_parameter_is_written_below_proc_sys() {
        let steps = names(
            &spec_with_sysctl("net.ipv4.ip_forward"),
            &own_everything(),
            true,
        )
        .unwrap();

        let written = |step: &Step| {
            matches!(step, Step::Sysctl { path, .. }
            if path == c"/proc/sys/net/ipv4/ip_forward")
        };
        assert!(steps.iter().any(written));
    }

    #[test]
    fn refuses_a_parameter_of_the_machine() {
        let error = names(&spec_with_sysctl("kernel.panic"), &own_everything(), true).unwrap_err();

        assert!(matches!(error, SystemError::Sysctl(_)));
    }

    #[test]
    fn refuses_a_parameter_that_climbs() {
        let error = names(
            &spec_with_sysctl("net/../kernel/panic"),
            &own_everything(),
            true,
        )
        .unwrap_err();

        assert!(matches!(error, SystemError::Sysctl(_)));
    }

    #[test]
    fn refuses_a_network_parameter_in_a_shared_network() {
        let shared = Namespaces::default();

        let error = names(&spec_with_sysctl("net.ipv4.ip_forward"), &shared, true).unwrap_err();

        assert!(matches!(error, SystemError::Sysctl(_)));
    }

    #[test]
    fn a_devices_type_comes_from_the_type_field() {
        let linux: Linux = serde_json::from_str(
            r#"{"devices":[{"path":"/dev/fuse","type":"c","major":10,"minor":229,"fileMode":8630}]}"#,
        )
        .unwrap();

        let steps = devices(Some(&linux)).unwrap();

        let fuse = |step: &Step| {
            matches!(step, Step::Device { path, mode: 0o020_666, .. }
            if path == c"/dev/fuse")
        };
        assert!(steps.iter().any(fuse));
    }
}
