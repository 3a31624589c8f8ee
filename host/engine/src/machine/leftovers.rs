//! Containers removed while the machine was down: their files on the data disk go at the next boot.
//!
//! One empty file per container, named by its id: what is written there survives the daemon.

use std::fs;
use std::io;
use std::path::PathBuf;

use dhow_protocol::Request;

use crate::guest::Guest;
use crate::id::Id;

/// The list of containers whose files are still to be removed.
#[derive(Clone, Debug)]
pub(crate) struct Leftovers {
    directory: PathBuf,
}

impl Leftovers {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Notes a container.
    pub(crate) fn add(&self, id: &Id) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        fs::write(self.directory.join(id.as_str()), [])
    }

    /// Removes the files of every noted container. What fails stays noted.
    pub(crate) async fn remove_all(&self, guest: &dyn Guest) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        for entry in entries.flatten() {
            let container = entry.file_name().to_string_lossy().into_owned();
            let request = Request::Remove { container };
            match guest.call(&request).await {
                Ok(_) => {
                    let _noted_still = fs::remove_file(entry.path());
                }
                Err(error) => {
                    tracing::warn!(%error, "files of a removed container stay");
                    return;
                }
            }
        }
    }
}
