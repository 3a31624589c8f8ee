//! Volumes: made, listed, removed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use dhow_protocol::{Reply, Request};

use super::to_the_end;
use crate::class::{Classified, ErrorClass};
use crate::container::Container;
use crate::engine::Engine;
use crate::events::{Event, EventKind};
use crate::filter::{FilterError, Filters};
use crate::guest::GuestError;
use crate::machine::BootError;
use crate::time::Timestamp;
use crate::volume::mount::MountPoint;
use crate::volume::store::{Hold, NotTaken};
use crate::volume::{ANONYMOUS_LABEL, LOCAL_DRIVER, Volume, VolumeName, VolumeNameError};

/// Docker's filters on a list of volumes.
const LIST_FILTERS: [&str; 4] = ["dangling", "driver", "label", "name"];

/// Docker's filters on pruning.
const PRUNE_FILTERS: [&str; 3] = ["label", "label!", "all"];

/// What a volume is to be.
#[derive(Clone, Debug, Default)]
pub struct VolumeOptions {
    /// Its name, or empty for one of 64 random digits.
    pub name: String,
    /// `local` or empty.
    pub driver: String,
    /// Options of the driver; there are none.
    pub driver_options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Why a volume was not made.
#[derive(Debug, thiserror::Error)]
pub enum VolumeCreateError {
    /// The name is none.
    #[error(transparent)]
    Name(#[from] VolumeNameError),
    /// There is no such driver.
    #[error("error looking up volume plugin {0}: plugin {0:?} not found")]
    Driver(String),
    /// The driver takes no options.
    #[error("options of the local volume driver are not supported by dhow yet ({0})")]
    DriverOption(String),
    /// It could not be written down.
    #[error("failed to write down volume {name}")]
    Write {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An older volume of the same name has files left, and there is no machine to remove them.
    #[error(transparent)]
    Machine(#[from] BootError),
    /// As above, and the machine did not.
    #[error("failed to remove what an older volume of the same name held")]
    Leftover(#[source] GuestError),
}

impl Classified for VolumeCreateError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Name(_) => ErrorClass::InvalidParameter,
            Self::Driver(_) => ErrorClass::NotFound,
            Self::DriverOption(_) => ErrorClass::NotImplemented,
            Self::Write { .. } | Self::Machine(_) | Self::Leftover(_) => ErrorClass::Internal,
        }
    }
}

/// Why a volume was not found or removed, in Docker's words.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// There is none.
    #[error("get {0}: no such volume")]
    Missing(String),
    /// A container has it.
    #[error("remove {name}: volume is in use - [{users}]")]
    InUse {
        /// Its name.
        name: String,
        /// Ids of those containers.
        users: String,
    },
    /// The host failed.
    #[error("failed to remove volume {name}")]
    Files {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Classified for VolumeError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Missing(_) => ErrorClass::NotFound,
            Self::InUse { .. } => ErrorClass::Conflict,
            Self::Files { .. } => ErrorClass::Internal,
        }
    }
}

/// What came of pruning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names of the volumes removed.
    pub removed: Vec<String>,
    /// Bytes of the data disk they took.
    pub bytes: u64,
}

impl Engine {
    /// Makes a volume; one of that name that is there already is fine.
    ///
    /// # Errors
    /// [`VolumeCreateError`].
    pub async fn volume_create(&self, options: VolumeOptions) -> Result<Volume, VolumeCreateError> {
        if !matches!(options.driver.as_str(), "" | LOCAL_DRIVER) {
            return Err(VolumeCreateError::Driver(options.driver));
        }
        if let Some(option) = options.driver_options.keys().next() {
            return Err(VolumeCreateError::DriverOption(option.clone()));
        }
        let mut labels = options.labels;
        let name = if options.name.is_empty() {
            labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
            fresh_name()?
        } else {
            VolumeName::try_from(options.name)?
        };
        let engine = self.clone();
        to_the_end(async move { engine.volume_held(name, labels).await })
            .await
            .map(|(volume, _hold)| volume)
    }

    /// The volume of a name.
    ///
    /// # Errors
    /// [`VolumeError::Missing`].
    pub fn volume(&self, name: &str) -> Result<Volume, VolumeError> {
        let found = self.volumes().get(name);
        found.ok_or_else(|| VolumeError::Missing(name.to_owned()))
    }

    /// Lists volumes by name.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn volume_list(&self, filters: &Filters) -> Result<Vec<Volume>, FilterError> {
        filters.only(&LIST_FILTERS)?;
        let dangling = filters
            .values("dangling")
            .map(|value| truth("dangling", value))
            .last()
            .transpose()?;
        let used = self.used_volumes();
        let mut volumes = self.volumes().all();
        volumes.retain(|volume| {
            let matches = filters.all_of(|key, value| match key {
                "driver" => value == LOCAL_DRIVER,
                "label" => Filters::label_matches(&volume.labels, value),
                "name" => volume.name.as_str().contains(value),
                _ => true,
            });
            matches && dangling.is_none_or(|wanted| used.contains(&volume.name) != wanted)
        });
        Ok(volumes)
    }

    /// Removes a volume that no container has. With `force` it may be missing.
    ///
    /// # Errors
    /// [`VolumeError`].
    pub async fn volume_remove(&self, name: &str, force: bool) -> Result<(), VolumeError> {
        let (engine, name) = (self.clone(), name.to_owned());
        let removed = to_the_end(async move { engine.remove_volume(&name).await }).await;
        match removed {
            Err(VolumeError::Missing(_)) if force => Ok(()),
            other => other,
        }
    }

    /// Removes volumes that no container has: those nobody named, or all. `all` is the default of a
    /// client from before there was that difference.
    ///
    /// # Errors
    /// [`FilterError`].
    pub async fn volume_prune(&self, filters: &Filters, all: bool) -> Result<Pruned, FilterError> {
        filters.only(&PRUNE_FILTERS)?;
        let asked = filters.values("all").map(|value| truth("all", value));
        let all = asked.last().transpose()?.unwrap_or(all);
        let mut pruned = Pruned::default();
        for volume in self.volumes().all() {
            let labelled = |wanted: &str| Filters::label_matches(&volume.labels, wanted);
            let wanted = (all || volume.is_anonymous())
                && filters.values("label").all(labelled)
                && !filters.values("label!").any(labelled);
            if !wanted || self.used_volumes().contains(&volume.name) {
                continue;
            }
            let name = volume.name.as_str();
            let bytes = self.volume_usage(&volume.name).await.unwrap_or(0);
            if self.volume_remove(name, false).await.is_ok() {
                pruned.removed.push(name.to_owned());
                pruned.bytes += bytes;
            }
        }
        let bytes = ("reclaimed", pruned.bytes.to_string());
        self.announce_volume("prune", "", &[bytes]);
        Ok(pruned)
    }

    /// Bytes of the data disk that a volume takes; unknown while the machine is down.
    pub async fn volume_usage(&self, name: &VolumeName) -> Option<u64> {
        let lease = self.machine().running()?;
        let request = Request::VolumeUsage {
            volume: name.to_string(),
        };
        match lease.guest().call(&request).await {
            Ok(Reply::VolumeUsage { bytes }) => Some(bytes),
            _ => None,
        }
    }

    /// How many containers have each volume that some have.
    #[must_use]
    pub fn volume_users(&self) -> BTreeMap<VolumeName, usize> {
        let mut users = BTreeMap::new();
        for container in self.containers().all() {
            for name in container
                .record()
                .mounts
                .iter()
                .filter_map(MountPoint::volume)
            {
                *users.entry(name.clone()).or_default() += 1;
            }
        }
        users
    }

    fn used_volumes(&self) -> BTreeSet<VolumeName> {
        self.volume_users().into_keys().collect()
    }

    /// The volume of a name, made where there is none, and held.
    pub(super) async fn volume_held(
        &self,
        name: VolumeName,
        labels: BTreeMap<String, String>,
    ) -> Result<(Volume, Hold), VolumeCreateError> {
        // Made and held are two steps; whoever removes it between them lets us make it again.
        loop {
            if let Some(held) = self.volumes().hold(&name) {
                return Ok(held);
            }
            // A random name was nobody's before: it need not wait for those being removed.
            let _gate = match labels.contains_key(ANONYMOUS_LABEL) {
                true => None,
                false => Some(self.volume_gate().lock().await),
            };
            if self.machine().leftovers().has_volume(&name) {
                let lease = self.machine().acquire().await?;
                let request = Request::RemoveVolume {
                    volume: name.to_string(),
                };
                let removed = lease.guest().call(&request).await;
                removed.map_err(VolumeCreateError::Leftover)?;
                self.machine().leftovers().forget_volume(&name);
            }
            if self.volumes().get(name.as_str()).is_some() {
                continue;
            }
            let volume = Volume {
                name: name.clone(),
                created: Timestamp::now(),
                labels: labels.clone(),
            };
            let made = self.volumes().insert(volume);
            made.map_err(|source| VolumeCreateError::Write {
                name: name.to_string(),
                source,
            })?;
            self.announce_volume("create", name.as_str(), &[]);
        }
    }

    pub(super) async fn remove_volume(&self, name: &str) -> Result<(), VolumeError> {
        let _gate = self.volume_gate().lock().await;
        let files = |source| VolumeError::Files {
            name: name.to_owned(),
            source,
        };
        let leftovers = self.machine().leftovers();
        let taken = self.volumes().take(name, |name| {
            let users = self.users_of(name);
            (!users.is_empty()).then(|| users.join(", "))
        });
        let volume = match taken {
            Ok(volume) => volume,
            Err(NotTaken::Missing) => return Err(VolumeError::Missing(name.to_owned())),
            Err(NotTaken::InUse(users)) => {
                let name = name.to_owned();
                return Err(VolumeError::InUse { name, users });
            }
            Err(NotTaken::Files(source)) => return Err(files(source)),
        };
        leftovers.add_volume(&volume.name).map_err(files)?;
        if let Some(lease) = self.machine().running() {
            let request = Request::RemoveVolume {
                volume: name.to_owned(),
            };
            match lease.guest().call(&request).await {
                Ok(_) => leftovers.forget_volume(&volume.name),
                Err(error) => tracing::warn!(%error, name, "removing a volume's files later"),
            }
        }
        self.announce_volume("destroy", name, &[]);
        Ok(())
    }

    fn users_of(&self, name: &VolumeName) -> Vec<String> {
        let has = |container: &Arc<Container>| {
            let record = container.record();
            record
                .mounts
                .iter()
                .any(|mount| mount.volume() == Some(name))
        };
        let containers = self.containers().all();
        let users = containers.iter().filter(|container| has(container));
        users.map(|container| container.id().to_string()).collect()
    }

    pub(super) fn announce_volume(&self, action: &str, name: &str, more: &[(&str, String)]) {
        let mut attributes = BTreeMap::from([("driver".to_owned(), LOCAL_DRIVER.to_owned())]);
        for (key, value) in more {
            attributes.insert((*key).to_owned(), value.clone());
        }
        self.events().publish(Event {
            kind: EventKind::Volume,
            action: action.to_owned(),
            actor: name.to_owned(),
            attributes,
            time: Timestamp::now(),
        });
    }
}

pub(super) fn fresh_name() -> Result<VolumeName, VolumeCreateError> {
    VolumeName::random().map_err(|source| VolumeCreateError::Write {
        name: "without a name".to_owned(),
        source,
    })
}

/// A filter's yes or no, in any of Go's spellings.
fn truth(key: &str, value: &str) -> Result<bool, FilterError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(FilterError::InvalidValue {
            key: key.to_owned(),
            value: value.to_owned(),
        }),
    }
}
