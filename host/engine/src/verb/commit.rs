//! Makes an image of a container: its image, and a layer of what it has changed.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use dhow_protocol::Pack;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::blocking;
use super::files::{ArchiveReader, FilesError};
use super::pause::PauseError;
use crate::class::{Classified, ErrorClass};
use crate::container::{LookupError, Phase, Record};
use crate::engine::Engine;
use crate::events::{Event, EventKind};
use crate::image::{CommitOptions, ImageError};
use crate::time::Timestamp;

/// Pieces of the layer between the machine and the store.
const QUEUED_PIECES: usize = 8;

/// What to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitRequest {
    /// `name[:tag]`, or empty.
    pub reference: String,
    /// Who made it.
    pub author: String,
    /// A comment for the history.
    pub message: String,
    /// Dockerfile instructions that change the configuration.
    pub changes: Vec<String>,
    /// Whether the container is frozen meanwhile.
    pub pause: bool,
}

/// Why no image was made.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// No such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// Its files could not be had.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// It could not be frozen.
    #[error(transparent)]
    Pause(#[from] PauseError),
    /// The store refused or failed.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl Classified for CommitError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Lookup(error) => error.class(),
            Self::Files(error) => error.class(),
            Self::Pause(error) => error.class(),
            Self::Image(error) => error.class(),
        }
    }
}

impl Engine {
    /// Makes an image of a container; returns its id.
    ///
    /// # Errors
    /// [`CommitError`]; nothing is left behind.
    pub async fn commit(
        &self,
        reference: &str,
        request: CommitRequest,
    ) -> Result<String, CommitError> {
        let container = self.container(reference)?;
        let frozen = request.pause && matches!(container.status().phase, Phase::Running { .. });
        if frozen {
            self.set_frozen(&container, true).await?;
        }
        let made = self.make_image(&container.record(), request).await;
        if frozen {
            self.set_frozen(&container, false).await?;
        }
        let id = made?;
        self.announce(&container, "commit", &[("imageID", id.clone())]);
        Ok(id)
    }

    async fn make_image(
        &self,
        record: &Record,
        request: CommitRequest,
    ) -> Result<String, CommitError> {
        let container = self.container(record.id.as_str())?;
        let (_, layer) = self.pack(&container, Pack::Layer).await?;
        let options = CommitOptions {
            base: record.image_id.clone(),
            config: config(record),
            changes: request.changes,
            author: request.author,
            message: request.message,
            created_by: record.arguments.join(" "),
            created: Timestamp::now().to_string(),
            reference: request.reference,
        };
        let images = Arc::clone(self.images());
        let mut layer = read_blocking(layer);
        let id = blocking(move || images.commit(&mut layer, &options)).await?;
        self.events().publish(Event {
            kind: EventKind::Image,
            action: "create".to_owned(),
            actor: id.clone(),
            attributes: BTreeMap::new(),
            time: Timestamp::now(),
        });
        Ok(id)
    }
}

/// The `config` object of the image: how the container was to start.
fn config(record: &Record) -> Map<String, Value> {
    let config = &record.config;
    let set = |names: Vec<String>| -> Value {
        let entries = names.into_iter().map(|name| (name, json!({})));
        Value::Object(entries.collect())
    };
    let exposed: Vec<String> = config
        .exposed_ports
        .iter()
        .map(ToString::to_string)
        .collect();
    let volumes: Vec<String> = config.volumes.iter().cloned().collect();
    let mut object = Map::new();
    let fields = [
        ("User", json!(config.user), config.user.is_empty()),
        ("Env", json!(config.env), config.env.is_empty()),
        (
            "Entrypoint",
            json!(config.entrypoint),
            config.entrypoint.is_none(),
        ),
        ("Cmd", json!(config.command), config.command.is_none()),
        (
            "WorkingDir",
            json!(config.working_dir),
            config.working_dir.is_empty(),
        ),
        ("Labels", json!(config.labels), config.labels.is_empty()),
        (
            "StopSignal",
            json!(config.stop_signal),
            config.stop_signal.is_none(),
        ),
        (
            "Healthcheck",
            json!(config.healthcheck),
            config.healthcheck.is_none(),
        ),
        (
            "ExposedPorts",
            set(exposed),
            config.exposed_ports.is_empty(),
        ),
        ("Volumes", set(volumes), config.volumes.is_empty()),
    ];
    for (name, value, is_empty) in fields {
        if !is_empty {
            object.insert(name.to_owned(), value);
        }
    }
    object
}

/// An archive for code that blocks.
fn read_blocking(mut archive: ArchiveReader) -> BlockingArchive {
    let (sender, pieces) = mpsc::channel(QUEUED_PIECES);
    tokio::spawn(async move {
        loop {
            let piece = match archive.next().await {
                Ok(Some(piece)) => Ok(piece),
                Ok(None) => return,
                Err(error) => Err(io::Error::other(error)),
            };
            let last = piece.is_err();
            if sender.send(piece).await.is_err() || last {
                return;
            }
        }
    });
    BlockingArchive {
        pieces,
        current: Bytes::new(),
    }
}

struct BlockingArchive {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for BlockingArchive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
