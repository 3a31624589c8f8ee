//! A container's files: looked at, read and written as archives, compared with its image.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
pub use dhow_protocol::PathStat;
use dhow_protocol::stream::{
    HEADER_BYTES, MAX_PAYLOAD_BYTES, StreamError, StreamHeader, StreamKind,
};
use dhow_protocol::{ContainerFiles, FailureKind, Pack, Reply, Request, Unpack};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::blocking;
use crate::class::{Classified, ErrorClass};
use crate::container::{Container, LookupError, Phase};
use crate::engine::Engine;
use crate::guest::{GuestError, MachineFailure};
use crate::image::ImageError;
use crate::machine::{BootError, Lease};

/// The largest list of changes that is kept in memory, in bytes: a million paths.
const MAX_CHANGES_BYTES: usize = 64 * 1024 * 1024;

/// Why files could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// No such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It is being removed.
    #[error("container {0} is marked for removal")]
    BeingRemoved(String),
    /// Its image is gone.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// There is no machine.
    #[error(transparent)]
    Machine(#[from] BootError),
    /// A layer could not be given to the machine.
    #[error("failed to give a layer to the machine")]
    Layer(#[source] MachineFailure),
    /// There is nothing at the path. Docker's words.
    #[error("Could not find the file {path} in container {container}")]
    NoSuchPath {
        /// The path.
        path: String,
        /// The container, as it was named.
        container: String,
    },
    /// The machine refused or failed.
    #[error(transparent)]
    Guest(GuestError),
    /// The machine's answer broke off.
    #[error("the machine ended while it sent files")]
    Lost(#[source] io::Error),
    /// The machine sent what is no frame.
    #[error("the machine sent a malformed archive")]
    Malformed(#[source] StreamError),
    /// The machine could not send all.
    #[error("{0}")]
    CutOff(String),
    /// The archive that was to be unpacked could not be read.
    #[error("failed to read the archive")]
    Input(#[source] io::Error),
    /// More changes than can be told.
    #[error("the container has too many changes to list")]
    TooManyChanges,
}

impl Classified for FilesError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Lookup(error) => error.class(),
            Self::BeingRemoved(_) => ErrorClass::Conflict,
            Self::Image(error) => error.class(),
            Self::Guest(GuestError::Failed(failure)) => match failure.kind {
                FailureKind::NotFound => ErrorClass::NotFound,
                FailureKind::Invalid => ErrorClass::InvalidParameter,
                FailureKind::Conflict => ErrorClass::Conflict,
                _ => ErrorClass::Internal,
            },
            Self::NoSuchPath { .. } => ErrorClass::NotFound,
            Self::Input(_) => ErrorClass::InvalidParameter,
            _ => ErrorClass::Internal,
        }
    }
}

impl FilesError {
    /// The same, in the words of whoever named the container.
    fn at(self, path: &str, container: &str) -> Self {
        match self {
            Self::Guest(GuestError::Failed(failure)) if failure.kind == FailureKind::NotFound => {
                Self::NoSuchPath {
                    path: path.to_owned(),
                    container: container.to_owned(),
                }
            }
            other => other,
        }
    }
}

/// How to unpack an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnpackOptions {
    /// The folder, which must be there.
    pub path: String,
    /// Whether a folder in place of a file, or a file in place of a folder, is an error.
    pub keep_kinds: bool,
    /// Whether the container's user shall own everything.
    pub as_container_user: bool,
}

/// A path that differs from the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// How.
    pub kind: FileChangeKind,
    /// The path.
    pub path: String,
}

/// How a path differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileChangeKind {
    /// The image has another.
    Changed,
    /// The image has none.
    Added,
    /// Only the image has it.
    Deleted,
}

/// An archive on its way from the machine.
#[derive(Debug)]
pub struct ArchiveReader {
    connection: UnixStream,
    _lease: Lease,
}

impl ArchiveReader {
    /// The next piece; `None` once the archive is whole.
    ///
    /// # Errors
    /// [`FilesError`] where it breaks off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FilesError> {
        let mut header = [0; HEADER_BYTES];
        let connection = &mut self.connection;
        connection
            .read_exact(&mut header)
            .await
            .map_err(FilesError::Lost)?;
        let header = StreamHeader::decode(header).map_err(FilesError::Malformed)?;
        let mut payload = vec![0; header.length];
        connection
            .read_exact(&mut payload)
            .await
            .map_err(FilesError::Lost)?;
        match header.kind {
            StreamKind::Stdout if payload.is_empty() => Ok(None),
            StreamKind::Stdout => Ok(Some(payload.into())),
            StreamKind::Stderr => {
                let reason = String::from_utf8_lossy(&payload).into_owned();
                Err(FilesError::CutOff(reason))
            }
            kind => Err(FilesError::Malformed(StreamError::UnknownKind(kind as u8))),
        }
    }
}

impl Engine {
    /// What is at a path of a container.
    ///
    /// # Errors
    /// [`FilesError`].
    pub async fn stat_path(&self, reference: &str, path: &str) -> Result<PathStat, FilesError> {
        let container = self.container(reference)?;
        let (lease, files) = self.files(&container).await?;
        let request = Request::StatPath {
            files,
            path: path.to_owned(),
        };
        match lease.guest().call(&request).await {
            Ok(Reply::PathStat(status)) => Ok(status),
            Ok(other) => Err(FilesError::Guest(GuestError::OutOfTurn(Box::new(other)))),
            Err(error) => Err(FilesError::Guest(error).at(path, reference)),
        }
    }

    /// An archive of what is at a path, and what that is.
    ///
    /// # Errors
    /// [`FilesError`].
    pub async fn read_path(
        &self,
        reference: &str,
        path: &str,
    ) -> Result<(PathStat, ArchiveReader), FilesError> {
        let container = self.container(reference)?;
        let what = Pack::Path(path.to_owned());
        let packed = self.pack(&container, what).await;
        let (status, reader) = packed.map_err(|error| error.at(path, reference))?;
        self.announce(&container, "archive-path", &[]);
        let missing = || FilesError::CutOff("the machine did not say what is there".to_owned());
        Ok((status.ok_or_else(missing)?, reader))
    }

    /// An archive of all files of a container.
    ///
    /// # Errors
    /// [`FilesError`].
    pub async fn export(&self, reference: &str) -> Result<ArchiveReader, FilesError> {
        let container = self.container(reference)?;
        let (_, reader) = self.pack(&container, Pack::All).await?;
        self.announce(&container, "export", &[]);
        Ok(reader)
    }

    /// What differs between a container and its image.
    ///
    /// # Errors
    /// [`FilesError`].
    pub async fn changes(&self, reference: &str) -> Result<Vec<FileChange>, FilesError> {
        let container = self.container(reference)?;
        let (_, mut reader) = self.pack(&container, Pack::Changes).await?;
        let mut list = Vec::new();
        while let Some(piece) = reader.next().await? {
            if list.len() + piece.len() > MAX_CHANGES_BYTES {
                return Err(FilesError::TooManyChanges);
            }
            list.extend_from_slice(&piece);
        }
        Ok(list.split(|byte| *byte == 0).filter_map(change).collect())
    }

    /// Unpacks an archive in a container.
    ///
    /// # Errors
    /// [`FilesError`]; what was unpacked before stays.
    pub async fn write_path(
        &self,
        reference: &str,
        options: UnpackOptions,
        pieces: mpsc::Receiver<io::Result<Bytes>>,
    ) -> Result<(), FilesError> {
        let container = self.container(reference)?;
        let (lease, files) = self.files(&container).await?;
        let owner = if options.as_container_user {
            container.record().config.user
        } else {
            String::new()
        };
        let request = Request::Unpack(Unpack {
            files,
            path: options.path.clone(),
            keep_kinds: options.keep_kinds,
            owner,
        });
        let opened = lease.guest().open(&request).await;
        let connection = match opened.map_err(FilesError::Guest)? {
            (Reply::Done, connection) => connection,
            (other, _) => return Err(FilesError::Guest(GuestError::OutOfTurn(Box::new(other)))),
        };
        let sent = send(connection, pieces).await;
        sent.map_err(|error| error.at(&options.path, reference))?;
        self.announce(&container, "extract-to-dir", &[]);
        drop(lease);
        Ok(())
    }

    pub(super) async fn pack(
        &self,
        container: &Arc<Container>,
        what: Pack,
    ) -> Result<(Option<PathStat>, ArchiveReader), FilesError> {
        let (lease, files) = self.files(container).await?;
        let request = Request::Pack { files, what };
        let opened = lease.guest().open(&request).await;
        match opened.map_err(FilesError::Guest)? {
            (Reply::Packed(status), connection) => {
                let reader = ArchiveReader {
                    connection,
                    _lease: lease,
                };
                Ok((status, reader))
            }
            (other, _) => Err(FilesError::Guest(GuestError::OutOfTurn(Box::new(other)))),
        }
    }

    /// The machine, and what it needs to know to find a container's files.
    async fn files(
        &self,
        container: &Arc<Container>,
    ) -> Result<(Lease, ContainerFiles), FilesError> {
        let record = container.record();
        let status = container.until(|now| now.phase != Phase::Starting).await;
        if matches!(status.phase, Phase::Removing | Phase::Removed) {
            return Err(FilesError::BeingRemoved(record.name.to_string()));
        }
        let images = Arc::clone(self.images());
        let image = blocking(move || images.resolve(&record.image_id)).await?;
        let lease = self.machine().acquire().await?;
        let mut layers = Vec::new();
        for layer in image.layers {
            let range = lease.guest().map_layer(layer.path).await;
            layers.push(range.map_err(FilesError::Layer)?);
        }
        // Its folder on the data disk is there now, whatever becomes of it: it must go with it.
        container.note_files();
        let container = container.id().to_string();
        Ok((lease, ContainerFiles { container, layers }))
    }
}

/// A letter and a path.
fn change(line: &[u8]) -> Option<FileChange> {
    let (letter, path) = line.split_first()?;
    let kind = match letter {
        b'C' => FileChangeKind::Changed,
        b'A' => FileChangeKind::Added,
        b'D' => FileChangeKind::Deleted,
        _ => return None,
    };
    Some(FileChange {
        kind,
        path: String::from_utf8_lossy(path).into_owned(),
    })
}

/// Sends an archive and learns what became of it. A client that breaks off breaks this off: the
/// machine takes nothing without its end for whole.
async fn send(
    mut connection: UnixStream,
    mut pieces: mpsc::Receiver<io::Result<Bytes>>,
) -> Result<(), FilesError> {
    while let Some(piece) = pieces.recv().await {
        let piece = piece.map_err(FilesError::Input)?;
        for part in piece.chunks(MAX_PAYLOAD_BYTES) {
            frame(&mut connection, part).await?;
        }
    }
    frame(&mut connection, &[]).await?;
    match dhow_machine::receive(&mut connection).await {
        Ok(_) => Ok(()),
        Err(dhow_machine::CallError::Failed(failure)) => {
            Err(FilesError::Guest(GuestError::Failed(failure)))
        }
        Err(error) => Err(FilesError::Guest(GuestError::Unreachable(error.into()))),
    }
}

async fn frame(connection: &mut UnixStream, payload: &[u8]) -> Result<(), FilesError> {
    let header = StreamHeader::new(StreamKind::Stdin, payload.len());
    let header = header.map_err(FilesError::Malformed)?.encode();
    let sent = connection.write_all(&header).await;
    sent.map_err(FilesError::Lost)?;
    let sent = connection.write_all(payload).await;
    sent.map_err(FilesError::Lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_a_letter_and_a_path() {
        let change = change(b"D/etc/motd").unwrap();

        assert_eq!(change.kind, FileChangeKind::Deleted);
        assert_eq!(change.path, "/etc/motd");
    }
}
