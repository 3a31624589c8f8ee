//! Which volumes a home has: `volumes/<name>/volume.json` each.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::{ANONYMOUS_LABEL, VolumeName};
use crate::container::record::{Durability, replace_file};
use crate::time::Timestamp;

/// Name of a volume's file in its folder.
const VOLUME_FILE: &str = "volume.json";

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name.
    pub name: VolumeName,
    /// When it was made.
    pub created: Timestamp,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl Volume {
    /// Whether nobody named it.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS_LABEL)
    }

    /// Where its content is in the machine.
    #[must_use]
    pub fn mountpoint(&self) -> String {
        mountpoint(&self.name)
    }
}

/// Where a volume's content is in the machine.
#[must_use]
pub fn mountpoint(name: &VolumeName) -> String {
    use dhow_protocol::grants::{VOLUME_DATA, VOLUMES_FOLDER};
    format!("{VOLUMES_FOLDER}/{name}/{VOLUME_DATA}")
}

/// Why a volume is still there.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// There is none of that name.
    Missing,
    /// Somebody has it.
    InUse(String),
    /// Its file could not be removed.
    Files(io::Error),
}

/// All volumes of a home; clones are the same.
#[derive(Clone, Debug)]
pub struct VolumeStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    volumes: BTreeMap<VolumeName, Volume>,
    /// How many creates of containers are about to use a volume.
    held: BTreeMap<VolumeName, usize>,
}

/// Keeps a volume from being removed until its container is known.
#[derive(Debug)]
pub(crate) struct Hold {
    store: VolumeStore,
    name: VolumeName,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.store.locked();
        if let Some(holds) = state.held.get_mut(&self.name) {
            *holds -= 1;
            if *holds == 0 {
                state.held.remove(&self.name);
            }
        }
    }
}

impl VolumeStore {
    /// Reads every volume of a folder.
    pub(crate) fn load(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let mut state = State::default();
        for entry in fs::read_dir(directory)? {
            let folder = entry?.path();
            let read = fs::read(folder.join(VOLUME_FILE));
            match read.map(|text| serde_json::from_slice::<Volume>(&text)) {
                Ok(Ok(volume)) => {
                    state.volumes.insert(volume.name.clone(), volume);
                }
                // Cut short before it was announced, or while it was removed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let _gone = fs::remove_dir_all(&folder);
                }
                _ => tracing::warn!(folder = %folder.display(), "not a volume, left alone"),
            }
        }
        Ok(Self(Arc::new(Inner {
            directory: directory.to_owned(),
            state: Mutex::new(state),
        })))
    }

    /// Every volume, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Volume> {
        self.locked().volumes.values().cloned().collect()
    }

    /// The volume of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Volume> {
        let name = VolumeName::try_from(name.to_owned()).ok()?;
        self.locked().volumes.get(&name).cloned()
    }

    /// The volume of a name where there is one, held.
    pub(crate) fn hold(&self, name: &VolumeName) -> Option<(Volume, Hold)> {
        let mut state = self.locked();
        let volume = state.volumes.get(name).cloned()?;
        *state.held.entry(name.clone()).or_default() += 1;
        drop(state);
        let hold = Hold {
            store: self.clone(),
            name: name.clone(),
        };
        Some((volume, hold))
    }

    /// Makes a volume, unless somebody else just has.
    pub(crate) fn insert(&self, volume: Volume) -> io::Result<()> {
        let mut state = self.locked();
        if state.volumes.contains_key(&volume.name) {
            return Ok(());
        }
        let folder = self.folder(&volume.name);
        fs::create_dir_all(&folder)?;
        let text = serde_json::to_vec(&volume).map_err(io::Error::other)?;
        // An anonymous one goes with its container, and with it after a power cut.
        let durability = if volume.is_anonymous() {
            Durability::DaemonEnd
        } else {
            Durability::PowerCut
        };
        replace_file(&folder.join(VOLUME_FILE), &text, durability)?;
        state.volumes.insert(volume.name.clone(), volume);
        Ok(())
    }

    /// Takes a volume out that nobody holds and `user` knows no user of.
    pub(crate) fn take(
        &self,
        name: &str,
        user: impl FnOnce(&VolumeName) -> Option<String>,
    ) -> Result<Volume, NotTaken> {
        let name = VolumeName::try_from(name.to_owned()).map_err(|_none| NotTaken::Missing)?;
        // While this is locked nobody new can hold it; who held it has its container listed.
        let mut state = self.locked();
        if !state.volumes.contains_key(&name) {
            return Err(NotTaken::Missing);
        }
        if state.held.contains_key(&name) {
            return Err(NotTaken::InUse("a container being created".to_owned()));
        }
        if let Some(user) = user(&name) {
            return Err(NotTaken::InUse(user));
        }
        fs::remove_dir_all(self.folder(&name)).map_err(NotTaken::Files)?;
        state.volumes.remove(&name).ok_or(NotTaken::Missing)
    }

    fn folder(&self, name: &VolumeName) -> PathBuf {
        self.0.directory.join(name.as_str())
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(name: &str) -> Volume {
        Volume {
            name: VolumeName::try_from(name.to_owned()).unwrap(),
            created: Timestamp::from_seconds(1),
            labels: BTreeMap::new(),
        }
    }

    #[test]
    fn a_volume_outlives_the_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let store = VolumeStore::load(folder.path()).unwrap();
        store.insert(volume("data")).unwrap();

        let again = VolumeStore::load(folder.path()).unwrap();

        assert_eq!(again.all(), [volume("data")]);
    }

    #[test]
    fn a_held_volume_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let store = VolumeStore::load(folder.path()).unwrap();
        store.insert(volume("data")).unwrap();
        let (_, hold) = store.hold(&volume("data").name).unwrap();

        let while_held = store.take("data", |_| None);
        drop(hold);
        let afterwards = store.take("data", |_| None);

        assert!(matches!(while_held, Err(NotTaken::InUse(_))));
        assert_eq!(afterwards.unwrap(), volume("data"));
        assert!(store.all().is_empty());
    }

    #[test]
    fn a_volume_with_a_user_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let store = VolumeStore::load(folder.path()).unwrap();
        store.insert(volume("data")).unwrap();

        let taken = store.take("data", |_| Some("web".to_owned()));

        assert!(matches!(taken, Err(NotTaken::InUse(user)) if user == "web"));
    }
}
