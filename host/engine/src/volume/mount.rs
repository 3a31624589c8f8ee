//! What is mounted where in a container: as asked for (`--mount`), and as it is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::VolumeName;

/// One entry of `HostConfig.Mounts`, checked for what can be had at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountRequest {
    /// What is mounted.
    pub what: RequestedMount,
    /// Where.
    pub target: String,
    /// Whether it cannot be written to.
    pub read_only: bool,
}

/// What a mount is asked to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestedMount {
    /// A volume.
    Volume {
        /// Its name, or empty for a new one of its own.
        source: String,
        /// Whether it stays empty where the image has something.
        no_copy: bool,
        /// Labels, where it is made now.
        labels: BTreeMap<String, String>,
        /// The part of it to mount.
        subpath: String,
    },
    /// A file system in memory.
    Tmpfs {
        /// Its size in bytes, 0 for half of the machine's memory.
        size_bytes: i64,
        /// Permissions of its root, 0 for 1777.
        mode: u32,
    },
    /// A path of the host.
    Bind {
        /// The path.
        source: String,
    },
}

/// What is mounted where, as long as the container lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// What.
    pub source: MountSource,
    /// Where.
    pub destination: String,
    /// Whether it cannot be written to.
    pub read_only: bool,
    /// The mode as it was typed after `-v source:destination:`.
    pub mode: String,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A volume.
    Volume {
        /// Its name.
        name: VolumeName,
        /// Whether it was made for this container and goes with it.
        anonymous: bool,
        /// Whether it is filled with what the image has there, while empty.
        copy: bool,
        /// The part of it that is mounted, or empty.
        subpath: String,
    },
    /// A file system in memory, of `--mount`.
    Tmpfs {
        /// Options of the file system.
        options: Vec<String>,
    },
    /// The socket of the API.
    ApiSocket {
        /// The path on the host, as it was typed.
        path: String,
    },
}

impl MountPoint {
    /// The volume it is, if it is one.
    #[must_use]
    pub fn volume(&self) -> Option<&VolumeName> {
        match &self.source {
            MountSource::Volume { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The volume that was made for its container alone, if it is one.
    #[must_use]
    pub fn anonymous_volume(&self) -> Option<&VolumeName> {
        match &self.source {
            MountSource::Volume {
                name,
                anonymous: true,
                ..
            } => Some(name),
            _ => None,
        }
    }
}
