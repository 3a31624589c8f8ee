//! What of a container survives the daemon: `containers/<id>/state.json`.
//!
//! Written to a temporary name, synced and renamed, so that a crash leaves the old or the new file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::config::{ContainerConfig, HostConfig};
use super::status::Status;
use crate::id::Id;
use crate::name::ContainerName;
use crate::network::EndpointConfig;
use crate::time::Timestamp;

/// Name of the state file in a container's folder.
pub(crate) const STATE_FILE: &str = "state.json";
/// Name of the log in a container's folder.
pub(crate) const LOG_FILE: &str = "log.json";

/// A container on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its identifier.
    pub id: Id,
    /// Its name.
    pub name: ContainerName,
    /// When it was created.
    pub created: Timestamp,
    /// The id of its image, `sha256:…`.
    pub image_id: String,
    /// What runs inside, the image's defaults merged in.
    pub config: ContainerConfig,
    /// What the host grants.
    pub host_config: HostConfig,
    /// The networks it is to be on, whether it runs or not.
    #[serde(default)]
    pub networks: Vec<EndpointConfig>,
    /// Program and arguments: entry point and command.
    pub arguments: Vec<String>,
    /// Where it is in its life.
    pub status: Status,
    /// How often it was restarted by its policy.
    pub restart_count: u32,
    /// Whether its user ended it, and did not start it since.
    #[serde(default)]
    pub stopped_by_user: bool,
    /// Whether the data disk may hold files of it although it never ran.
    #[serde(default)]
    pub has_files: bool,
}

/// Why a record could not be saved or loaded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file could not be read or written.
    #[error("failed to access {path}")]
    Access {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds no record.
    #[error("{path} holds no container")]
    Malformed {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl Record {
    /// Writes the state file whole or not at all.
    pub(crate) fn save(&self, directory: &Path, durability: Durability) -> Result<(), RecordError> {
        let path = directory.join(STATE_FILE);
        let text = serde_json::to_vec(self).map_err(|source| RecordError::Malformed {
            path: path.display().to_string(),
            source,
        })?;
        replace_file(&path, &text, durability).map_err(|source| RecordError::Access {
            path: path.display().to_string(),
            source,
        })
    }

    /// Reads the state file of a container's folder.
    pub(crate) fn load(directory: &Path) -> Result<Self, RecordError> {
        let path = directory.join(STATE_FILE);
        let text = fs::read(&path).map_err(|source| RecordError::Access {
            path: path.display().to_string(),
            source,
        })?;
        serde_json::from_slice(&text).map_err(|source| RecordError::Malformed {
            path: path.display().to_string(),
            source,
        })
    }
}

/// What a state file must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// A power cut: the container was announced to a client.
    PowerCut,
    /// The daemon's end. A sync costs milliseconds of every start and exit, and after a power cut
    /// the state before is as good, since no container outlives the host.
    DaemonEnd,
}

fn replace_file(path: &Path, content: &[u8], durability: Durability) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    if durability == Durability::PowerCut {
        file.sync_data()?;
    }
    fs::rename(temporary, path)
}
