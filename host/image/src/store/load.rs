//! Loads archives and OCI layout folders.
//!
//! An archive is a stream and may bring its layers before it says what they are, so every member that
//! looks like a layer is converted as it comes by, and what no manifest names is dropped at the end.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::archive::Archive;
use super::{ImageStore, StoreError};
use crate::decompress::{Compression, Decompressor};
use crate::digest::{Digest, ImageId};
use crate::layer::LayerError;
use crate::manifest::{self, ManifestError};
use crate::tar::{TarError, TarReader};

/// Buffer for the input; an archive's members are large.
pub(super) const BUFFER_BYTES: usize = 1 << 20;

/// Largest document (manifest, index or configuration) of an archive.
pub(super) const MAX_DOCUMENT_BYTES: u64 = 8 << 20;

/// Bytes between two [`LoadEvent::Progress`].
const PROGRESS_BYTES: u64 = 4 << 20;

/// What happens while an archive is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadEvent {
    /// So many bytes of the input were read.
    Progress {
        /// All of them so far.
        bytes: u64,
    },
    /// A layer was read and is ready.
    Layer {
        /// Its identity.
        diff_id: Digest,
        /// Bytes of its EROFS file.
        size: u64,
        /// Whether the store had it already.
        present: bool,
    },
}

/// An image that is now in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedImage {
    /// Its identity.
    pub id: ImageId,
    /// Its names as people write them, those with tags; none makes it dangling.
    pub references: Vec<String>,
}

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The input could not be read, is truncated, or is no archive.
    #[error("failed to read the archive")]
    Read(#[source] TarError),
    /// What the archive says about its images is wrong.
    #[error("the archive cannot be used")]
    Manifest(#[source] ManifestError),
    /// A layer was refused.
    #[error("failed to load the layer {name}")]
    Layer {
        /// The layer's file in the archive.
        name: String,
        /// What is wrong with it.
        #[source]
        source: LayerError,
    },
    /// A member has another digest than its name says.
    #[error("{name} has the wrong digest: expected {expected}, found {actual}")]
    Digest {
        /// The member.
        name: String,
        /// What its name or the configuration says.
        expected: Digest,
        /// What it has.
        actual: Digest,
    },
    /// A member has another size than the manifest says.
    #[error("{name} has the wrong size: expected {expected} bytes, found {actual}")]
    Size {
        /// The member.
        name: String,
        /// What the manifest says.
        expected: u64,
        /// What it has.
        actual: u64,
    },
    /// Too much for memory.
    #[error("the archive has more than {limit} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The store failed.
    #[error("failed to store the image")]
    Store(#[source] StoreError),
}

impl ImageStore {
    /// Loads all images of a docker-archive or OCI archive, plain or compressed with gzip or zstd. The
    /// input is read once, from start to end. Either all its images are stored or none.
    ///
    /// # Errors
    /// If the input cannot be read, is damaged or refused, or the store cannot be written; then the
    /// store is as before.
    pub fn load(
        &self,
        input: impl Read,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Vec<LoadedImage>, LoadError> {
        let progress = RefCell::new(progress);
        let report = |event| (progress.borrow_mut())(event);
        let counted = CountingReader {
            input,
            bytes: 0,
            reported: 0,
            progress: &report,
        };
        let mut input = BufReader::with_capacity(BUFFER_BYTES, counted);
        let compression = Compression::sniff(input.fill_buf().map_err(read_error)?);
        let input: Box<dyn BufRead> = if compression == Compression::None {
            Box::new(input)
        } else {
            let decompressor = Decompressor::new(input, compression).map_err(read_error)?;
            Box::new(BufReader::with_capacity(BUFFER_BYTES, decompressor))
        };
        let mut archive = Archive::new(self, &report);
        let mut reader = TarReader::new(input);
        while let Some(entry) = reader.next_entry().map_err(LoadError::Read)? {
            archive.add(&entry, &mut reader)?;
        }
        let planned = manifest::plan(&mut |name| Ok(archive.document(name)));
        let mut images = Vec::new();
        for image in planned.map_err(LoadError::Manifest)? {
            images.push(archive.stage(image)?);
        }
        self.commit(images)
    }

    /// Loads all images of a folder in the OCI image layout; only what they need is read.
    ///
    /// # Errors
    /// As [`ImageStore::load`].
    pub fn load_layout(
        &self,
        folder: &Path,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Vec<LoadedImage>, LoadError> {
        let planned = manifest::plan(&mut |name| read_document(folder, name));
        let progress = RefCell::new(progress);
        let report = |event| (progress.borrow_mut())(event);
        let mut archive = Archive::new(self, &report);
        let mut images = Vec::new();
        for image in planned.map_err(LoadError::Manifest)? {
            for planned in &image.layers {
                archive.add_file(folder, planned)?;
            }
            images.push(archive.stage(image)?);
        }
        self.commit(images)
    }
}

pub(super) fn read_error(error: io::Error) -> LoadError {
    LoadError::Read(TarError::from(error))
}

/// A document of a layout folder.
fn read_document(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, ManifestError> {
    let failed = |source| ManifestError::Read {
        name: name.to_owned(),
        source,
    };
    let file = match File::open(folder.join(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_DOCUMENT_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(Some(bytes))
}

/// Reports how much was read.
struct CountingReader<'a, R> {
    input: R,
    bytes: u64,
    reported: u64,
    progress: &'a dyn Fn(LoadEvent),
}

impl<R: Read> Read for CountingReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.bytes += count as u64;
        if self.bytes - self.reported >= PROGRESS_BYTES || count == 0 {
            self.reported = self.bytes;
            (self.progress)(LoadEvent::Progress { bytes: self.bytes });
        }
        Ok(count)
    }
}
