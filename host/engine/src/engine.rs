//! The engine: everything the verbs share.
//!
//! Cheap to clone. Verbs are methods in [`crate::verb`], one file each.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::container::{Container, LookupError, Registry};
use crate::events::{Event, EventBus, EventKind};
use crate::exec::ExecTable;
use crate::guest::Boot;
use crate::id::{Id, random_bytes};
use crate::image::ImageLibrary;
use crate::machine::Supervisor;
use crate::notice::Notices;
use crate::port::PortTable;
use crate::time::Timestamp;

/// Folder of the containers in a home.
const CONTAINERS: &str = "containers";
/// Folder of the machine in a home.
const MACHINE: &str = "machine";

/// What an engine is made of.
#[derive(Debug)]
pub struct EngineOptions {
    /// `DHOW_HOME`.
    pub home: PathBuf,
    /// Starts machines.
    pub boot: Arc<dyn Boot>,
    /// Images.
    pub images: Arc<dyn ImageLibrary>,
    /// How long the machine stays up with nothing to do.
    pub machine_idle: Duration,
}

/// Why an engine could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the containers in {path}")]
pub struct OpenError {
    path: String,
    #[source]
    source: io::Error,
}

/// The engine of one home; clones are the same engine.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    home: PathBuf,
    containers: Registry,
    images: Arc<dyn ImageLibrary>,
    machine: Supervisor,
    events: EventBus,
    execs: ExecTable,
    ports: PortTable,
    /// Bumped whenever a container starts or ends.
    activity: watch::Sender<u64>,
    notices: Notices,
    instance: String,
}

impl Engine {
    /// Opens a home. Containers that a daemon before left running are marked as ended.
    ///
    /// # Errors
    /// [`OpenError`] where the containers' folder cannot be read.
    pub fn open(options: EngineOptions) -> Result<Self, OpenError> {
        let directory = options.home.join(CONTAINERS);
        let failed = |source| OpenError {
            path: directory.display().to_string(),
            source,
        };
        let (containers, lost) = Registry::load(&directory).map_err(failed)?;
        let leftovers = options.home.join(MACHINE).join("removed");
        let notices = Notices::default();
        if lost > 0 {
            notices.add(format!(
                "{lost} running container(s) ended when the daemon was killed; \
                 start them again with `dhow start`"
            ));
        }
        let instance: [u8; 8] = random_bytes().map_err(failed)?;
        Ok(Self(Arc::new(Inner {
            home: options.home,
            containers,
            images: options.images,
            machine: Supervisor::new(
                options.boot,
                options.machine_idle,
                leftovers,
                notices.clone(),
            ),
            events: EventBus::new(),
            execs: ExecTable::default(),
            ports: PortTable::default(),
            activity: watch::channel(0).0,
            notices,
            instance: instance.iter().map(|byte| format!("{byte:02x}")).collect(),
        })))
    }

    /// The home's folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.0.home
    }

    /// The data disk of the home's machine.
    #[must_use]
    pub fn data_disk(&self) -> PathBuf {
        self.0.home.join(MACHINE).join("data.img")
    }

    /// A name for this run of the engine.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.0.instance
    }

    /// What the user should be told once: what was lost with the daemon before, or with a machine
    /// that ended by itself.
    #[must_use]
    pub fn take_notices(&self) -> Vec<String> {
        self.0.notices.take()
    }

    /// Whether there is something to tell.
    #[must_use]
    pub fn has_notices(&self) -> bool {
        !self.0.notices.is_empty()
    }

    /// All containers.
    #[must_use]
    pub fn containers(&self) -> &Registry {
        &self.0.containers
    }

    /// The container of an id, a prefix or a name.
    ///
    /// # Errors
    /// [`LookupError`] where none or several match.
    pub fn container(&self, reference: &str) -> Result<Arc<Container>, LookupError> {
        self.0.containers.resolve(reference)
    }

    /// How many containers have a process, changing as they start and end.
    #[must_use]
    pub fn activity(&self) -> watch::Receiver<u64> {
        self.0.activity.subscribe()
    }

    pub(crate) fn note_activity(&self) {
        self.0.activity.send_modify(|count| *count += 1);
    }

    pub(crate) fn images(&self) -> &Arc<dyn ImageLibrary> {
        &self.0.images
    }

    pub(crate) fn machine(&self) -> &Supervisor {
        &self.0.machine
    }

    pub(crate) fn events(&self) -> &EventBus {
        &self.0.events
    }

    pub(crate) fn execs(&self) -> &ExecTable {
        &self.0.execs
    }

    pub(crate) fn ports(&self) -> &PortTable {
        &self.0.ports
    }

    /// Where a container's files go.
    pub(crate) fn container_directory(&self, id: &Id) -> io::Result<PathBuf> {
        let directory = self.0.home.join(CONTAINERS).join(id.as_str());
        fs::create_dir_all(&directory)?;
        Ok(directory)
    }

    /// Tells listeners what happened to a container.
    pub(crate) fn announce(&self, container: &Container, action: &str, more: &[(&str, String)]) {
        let record = container.record();
        let mut attributes = record.config.labels;
        attributes.insert("image".to_owned(), record.config.image);
        attributes.insert("name".to_owned(), record.name.to_string());
        for (key, value) in more {
            attributes.insert((*key).to_owned(), value.clone());
        }
        self.0.events.publish(Event {
            kind: EventKind::Container,
            action: action.to_owned(),
            actor: record.id.to_string(),
            attributes,
            time: Timestamp::now(),
        });
    }
}
