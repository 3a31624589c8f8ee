//! Devices of the machine that a container is given: looked up here, since only the machine knows
//! their numbers.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use dhow_protocol::RunContainer;
use dhow_protocol::grants::DeviceGrant;
use oci_spec::runtime::Spec;
use serde_json::{Value, json};

use super::RunError;

/// The most devices that one folder gives; the machine's `/dev` has a few dozen.
const MAX_DEVICES: usize = 1024;

/// Why a device cannot be given. The words are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// It cannot be looked up.
    #[error("error gathering device information while adding custom device {path:?}")]
    Look {
        /// The device.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// It is something else.
    #[error(
        "error gathering device information while adding custom device {0:?}: not a device node"
    )]
    NoDevice(PathBuf),
}

/// The container's configuration, with the devices it is given.
pub(super) fn configuration(request: &RunContainer) -> Result<Spec, RunError> {
    if request.grants.devices.is_empty() {
        return serde_json::from_str(&request.config_json).map_err(RunError::Config);
    }
    let mut config: Value = serde_json::from_str(&request.config_json).map_err(RunError::Config)?;
    for grant in &request.grants.devices {
        for found in look_up(grant)? {
            found.add(&mut config, &grant.access);
        }
    }
    serde_json::from_value(config).map_err(RunError::Config)
}

/// A device node of the machine.
struct Device {
    path: String,
    kind: &'static str,
    metadata: fs::Metadata,
}

impl Device {
    /// Adds the node, and the rule that lets it be used.
    fn add(&self, config: &mut Value, access: &str) {
        let device = self.metadata.rdev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let node = json!({
            "path": self.path, "type": self.kind, "major": major, "minor": minor,
            "fileMode": self.metadata.mode(),
            "uid": self.metadata.uid(), "gid": self.metadata.gid(),
        });
        let rule = json!({
            "allow": true, "type": self.kind, "major": major, "minor": minor, "access": access,
        });
        for (pointer, value) in [("/linux/devices", node), ("/linux/resources/devices", rule)] {
            if let Some(list) = config.pointer_mut(pointer).and_then(Value::as_array_mut) {
                list.push(value);
            }
        }
    }
}

/// The device of a grant, or all those in its folder.
fn look_up(grant: &DeviceGrant) -> Result<Vec<Device>, GrantError> {
    let path = Path::new(&grant.machine_path);
    let look = |source| GrantError::Look {
        path: path.to_owned(),
        source,
    };
    let metadata = fs::metadata(path).map_err(look)?;
    if !metadata.is_dir() {
        let kind = kind(&metadata).ok_or_else(|| GrantError::NoDevice(path.to_owned()))?;
        return Ok(vec![Device {
            path: grant.container_path.clone(),
            kind,
            metadata,
        }]);
    }
    let mut devices = Vec::new();
    for entry in fs::read_dir(path).map_err(look)?.take(MAX_DEVICES) {
        let entry = entry.map_err(look)?;
        let metadata = entry.metadata().map_err(look)?;
        if let Some(kind) = kind(&metadata) {
            let name = entry.file_name();
            devices.push(Device {
                path: format!(
                    "{}/{}",
                    grant.container_path.trim_end_matches('/'),
                    name.to_string_lossy()
                ),
                kind,
                metadata,
            });
        }
    }
    Ok(devices)
}

/// OCI's letter for a node's type; nothing for what is no device.
fn kind(metadata: &fs::Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    if kind.is_char_device() {
        Some("c")
    } else if kind.is_block_device() {
        Some("b")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(path: &str) -> DeviceGrant {
        DeviceGrant {
            machine_path: path.to_owned(),
            container_path: "/dev/nothing".to_owned(),
            access: "rw".to_owned(),
        }
    }

    #[test]
    fn a_device_comes_with_its_number_and_a_rule() {
        let mut config = json!({"linux": {"devices": [], "resources": {"devices": []}}});

        for device in look_up(&grant("/dev/null")).unwrap() {
            device.add(&mut config, "rw");
        }

        let node = &config["linux"]["devices"][0];
        let rule = &config["linux"]["resources"]["devices"][0];
        assert_eq!(
            (&node["path"], &node["minor"]),
            (&json!("/dev/nothing"), &json!(3))
        );
        assert_eq!((&rule["access"], &rule["major"]), (&json!("rw"), &json!(1)));
    }

    #[test]
    fn what_is_no_device_is_refused() {
        let refused = look_up(&grant("/etc/hostname")).err().unwrap();

        assert!(matches!(refused, GrantError::NoDevice(_)));
    }

    #[test]
    fn a_missing_device_is_told_as_docker_tells_it() {
        let refused = look_up(&grant("/dev/no-such")).err().unwrap();

        assert_eq!(
            refused.to_string(),
            "error gathering device information while adding custom device \"/dev/no-such\""
        );
    }
}
