//! All containers of a home, found by id, unambiguous prefix of an id, or name.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Container;
use super::record::{Record, RecordError};
use super::status::{Change, KILLED_EXIT_CODE};
use crate::class::{Classified, ErrorClass};
use crate::id::Id;
use crate::name::ContainerName;
use crate::time::Timestamp;

/// What is written into a container that was running when its daemon went away.
const LOST_WITH_DAEMON: &str = "the machine ended with the daemon";

/// Why a reference names no container.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Nothing matches.
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    /// Several ids start with it.
    #[error("multiple IDs found with provided prefix: {0}")]
    Ambiguous(String),
}

/// A name that another container has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". \
     You have to remove (or rename) that container to be able to reuse that name."
)]
pub struct NameTaken {
    /// The name.
    pub name: ContainerName,
    /// Who has it.
    pub holder: Id,
}

/// All containers of a home.
#[derive(Debug, Default)]
pub struct Registry {
    containers: Mutex<BTreeMap<Id, Arc<Container>>>,
}

impl Classified for LookupError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NoSuchContainer(_) => ErrorClass::NotFound,
            Self::Ambiguous(_) => ErrorClass::InvalidParameter,
        }
    }
}

impl Registry {
    /// Reads every container of a folder, and marks those as ended that were running; also returns
    /// those.
    pub(crate) fn load(directory: &Path) -> io::Result<(Self, Vec<Arc<Container>>)> {
        fs::create_dir_all(directory)?;
        let registry = Self::default();
        let mut lost = Vec::new();
        for entry in fs::read_dir(directory)? {
            let folder = entry?.path();
            match Record::load(&folder) {
                Ok(record) => lost.extend(registry.recover(record, &folder)),
                // Left by a create or a remove that was cut short: without a state file it was
                // never announced to anyone, or is already gone.
                Err(RecordError::Access { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    let _gone = fs::remove_dir_all(&folder);
                }
                Err(error) => {
                    tracing::warn!(%error, folder = %folder.display(), "not a container, left alone");
                }
            }
        }
        Ok((registry, lost))
    }

    /// Takes a stored container in; returns it where it was cut off.
    fn recover(&self, record: Record, folder: &Path) -> Option<Arc<Container>> {
        let restarting = record.status.phase == super::Phase::Restarting;
        let lost = record.status.phase.is_active() && !restarting;
        let removing = record.status.phase == super::Phase::Removing;
        let container = Arc::new(Container::new(record, folder.to_owned()));
        if lost {
            let _already_ended = container.change(Change::Ended {
                exit_code: KILLED_EXIT_CODE,
                oom_killed: false,
                error: LOST_WITH_DAEMON.to_owned(),
                at: Timestamp::now(),
                restarts: false,
            });
        }
        if restarting {
            let _not_restarting = container.change(Change::GiveUp);
        }
        if removing {
            let _not_removing = container.change(Change::RemoveFailed);
        }
        let id = container.id().clone();
        self.locked().insert(id, Arc::clone(&container));
        lost.then_some(container)
    }

    /// Adds a container under a name nobody has.
    pub(crate) fn insert(&self, container: Arc<Container>) -> Result<(), NameTaken> {
        let mut containers = self.locked();
        name_is_free(&containers, &container.name())?;
        containers.insert(container.id().clone(), container);
        Ok(())
    }

    /// Gives a container another name that nobody has.
    pub(crate) fn rename(
        &self,
        container: &Container,
        name: ContainerName,
    ) -> Result<(), NameTaken> {
        let containers = self.locked();
        name_is_free(&containers, &name)?;
        container.set_name(name);
        Ok(())
    }

    /// Forgets a container.
    pub(crate) fn remove(&self, id: &Id) {
        self.locked().remove(id);
    }

    /// The container of a full id, a name, or a prefix that only one id has; in this order, as
    /// Docker.
    ///
    /// # Errors
    /// [`LookupError`] where none or several match.
    pub fn resolve(&self, reference: &str) -> Result<Arc<Container>, LookupError> {
        let missing = || LookupError::NoSuchContainer(reference.to_owned());
        let containers = self.locked();
        let name = reference.strip_prefix('/').unwrap_or(reference);
        if name.is_empty() {
            return Err(missing());
        }
        let exact = containers
            .values()
            .find(|container| container.id().as_str() == name)
            .or_else(|| {
                containers
                    .values()
                    .find(|container| container.name().as_str() == name)
            });
        if let Some(container) = exact {
            return Ok(Arc::clone(container));
        }
        let mut matching = containers
            .values()
            .filter(|container| container.id().as_str().starts_with(name));
        match (matching.next(), matching.next()) {
            (Some(container), None) => Ok(Arc::clone(container)),
            (Some(_), Some(_)) => Err(LookupError::Ambiguous(reference.to_owned())),
            (None, _) => Err(missing()),
        }
    }

    /// Every container, newest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Container>> {
        let mut all: Vec<_> = self
            .locked()
            .values()
            .map(|container| (container.record().created, Arc::clone(container)))
            .collect();
        all.sort_by_key(|(created, _)| std::cmp::Reverse(*created));
        all.into_iter().map(|(_, container)| container).collect()
    }

    /// How many have a process, or are about to.
    #[must_use]
    pub fn active(&self) -> usize {
        self.locked()
            .values()
            .filter(|container| container.status().phase.is_active())
            .count()
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<Id, Arc<Container>>> {
        self.containers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn name_is_free(
    containers: &BTreeMap<Id, Arc<Container>>,
    name: &ContainerName,
) -> Result<(), NameTaken> {
    let holder = containers
        .values()
        .find(|container| container.name() == *name);
    holder.map_or(Ok(()), |holder| {
        Err(NameTaken {
            name: name.clone(),
            holder: holder.id().clone(),
        })
    })
}
