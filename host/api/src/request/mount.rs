//! `HostConfig.Mounts`, and `POST /volumes/create`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// One mount.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MountRequest {
    /// `bind`, `volume`, `tmpfs`…
    #[serde(rename = "Type")]
    pub kind: Option<String>,
    /// A volume's name or a path of the host.
    pub source: Option<String>,
    /// Where it is mounted.
    pub target: Option<String>,
    /// Whether it cannot be written to.
    pub read_only: Option<bool>,
    /// How a file system of another system is kept in step.
    pub consistency: Option<String>,
    /// Of a bind mount.
    pub bind_options: Option<Value>,
    /// Of a volume.
    pub volume_options: Option<VolumeOptionsRequest>,
    /// Of a tmpfs.
    pub tmpfs_options: Option<TmpfsOptionsRequest>,
}

/// How a volume is mounted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeOptionsRequest {
    /// Whether it stays empty where the image has something.
    pub no_copy: Option<bool>,
    /// Labels, where it is made.
    pub labels: Option<BTreeMap<String, String>>,
    /// Who makes it.
    pub driver_config: Option<DriverRequest>,
    /// The part of it to mount.
    pub subpath: Option<String>,
}

/// Who makes a volume.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DriverRequest {
    /// The driver's name.
    pub name: Option<String>,
    /// Its options.
    pub options: Option<BTreeMap<String, String>>,
}

/// How a tmpfs is mounted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TmpfsOptionsRequest {
    /// Its size.
    pub size_bytes: Option<i64>,
    /// Permissions of its root.
    pub mode: Option<u32>,
    /// Further options, a name or a name and a value each.
    pub options: Option<Vec<Vec<String>>>,
}

/// A device of the machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceMappingRequest {
    /// Where it is in the machine.
    pub path_on_host: Option<String>,
    /// Where it is in the container.
    pub path_in_container: Option<String>,
    /// Letters of `rwm`.
    pub cgroup_permissions: Option<String>,
}

/// A volume.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeCreateRequest {
    /// Its name, or none for a random one.
    pub name: Option<String>,
    /// Who makes it.
    pub driver: Option<String>,
    /// Options of the driver.
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
}
