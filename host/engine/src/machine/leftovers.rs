//! Containers and volumes removed while the machine was down: their files on the data disk go at the
//! next boot.
//!
//! One empty file each, named by the container's id or the volume's name: what is written there
//! survives the daemon. Rule: a volume that is noted does not exist; before one of that name is made
//! anew, the old one's files must be gone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dhow_protocol::Request;

use crate::guest::Guest;
use crate::id::Id;
use crate::volume::{VolumeName, VolumeStore};

/// What is still to be removed from the data disk.
#[derive(Clone, Debug)]
pub(crate) struct Leftovers {
    containers: PathBuf,
    volumes: PathBuf,
}

impl Leftovers {
    /// Those noted in the machine's folder.
    pub(crate) fn new(machine: &Path) -> Self {
        Self {
            containers: machine.join("removed"),
            volumes: machine.join("removed-volumes"),
        }
    }

    /// Notes a container.
    pub(crate) fn add(&self, id: &Id) -> io::Result<()> {
        note(&self.containers, id.as_str())
    }

    /// Notes a volume.
    pub(crate) fn add_volume(&self, name: &VolumeName) -> io::Result<()> {
        note(&self.volumes, name.as_str())
    }

    /// Whether a volume of this name is still to be removed.
    pub(crate) fn has_volume(&self, name: &VolumeName) -> bool {
        self.volumes.join(name.as_str()).exists()
    }

    /// A volume's files are gone, or it is not to be removed after all.
    pub(crate) fn forget_volume(&self, name: &VolumeName) {
        let _not_noted = fs::remove_file(self.volumes.join(name.as_str()));
    }

    /// Forgets volumes that exist: the daemon was killed between noting and removing them.
    pub(crate) fn forget_living(&self, volumes: &VolumeStore) {
        for volume in volumes.all() {
            self.forget_volume(&volume.name);
        }
    }

    /// Removes the files of everything noted. What fails stays noted.
    pub(crate) async fn remove_all(&self, guest: &dyn Guest) {
        remove_noted(&self.containers, guest, |container| Request::Remove {
            container,
        })
        .await;
        remove_noted(&self.volumes, guest, |volume| Request::RemoveVolume {
            volume,
        })
        .await;
    }
}

fn note(directory: &Path, name: &str) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::write(directory.join(name), [])
}

async fn remove_noted(directory: &Path, guest: &dyn Guest, request: fn(String) -> Request) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let request = request(entry.file_name().to_string_lossy().into_owned());
        match guest.call(&request).await {
            Ok(_) => {
                let _noted_still = fs::remove_file(entry.path());
            }
            Err(error) => {
                tracing::warn!(%error, "files of what was removed stay");
                return;
            }
        }
    }
}
