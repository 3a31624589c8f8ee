//! Loads archives and OCI layout folders.
//!
//! An archive is a stream and may bring its layers before it says what they are, so every member that
//! looks like a layer is converted as it comes by, and what no manifest names is dropped at the end.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::commit::{StagedImage, StagedLayer};
use super::{ImageStore, StoreError};
use crate::decompress::{Compression, Decompressor};
use crate::digest::{Digest, ImageId};
use crate::hashing::HashingReader;
use crate::layer::LayerError;
use crate::manifest::{
    self, BLOBS_PREFIX, ManifestError, PlannedImage, PlannedLayer, digest_in_name, normal_name,
};
use crate::tar::{BLOCK_BYTES, Entry, EntryKind, Header, TarError, TarReader};

/// Buffer for the input; an archive's members are large.
const BUFFER_BYTES: usize = 1 << 20;

/// Largest document (manifest, index or configuration) of an archive.
const MAX_DOCUMENT_BYTES: u64 = 8 << 20;

/// Most bytes of all documents, which are kept until the end of the archive.
const MAX_DOCUMENTS_BYTES: u64 = 64 << 20;

/// Most members of an archive; an image has a few per layer.
const MAX_MEMBERS: usize = 65_536;

/// How many links lead from a layer's name to its file, at most; old `docker save` makes one.
const MAX_LINKS: usize = 8;

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
        let counted = CountingReader { input, bytes: 0, reported: 0, progress: &report };
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

/// One member that looked like a layer.
#[derive(Debug)]
struct Candidate {
    /// Its stored bytes.
    size: u64,
    /// The layer, or why it is none. That only matters if a manifest names it.
    result: Result<StagedLayer, LoadError>,
}

/// What came by so far.
struct Archive<'a> {
    store: &'a ImageStore,
    progress: &'a dyn Fn(LoadEvent),
    members: usize,
    documents: HashMap<String, Vec<u8>>,
    document_bytes: u64,
    layers: HashMap<String, Candidate>,
    /// Links between members, as old archives have them.
    links: HashMap<String, String>,
}

impl<'a> Archive<'a> {
    fn new(store: &'a ImageStore, progress: &'a dyn Fn(LoadEvent)) -> Self {
        Self {
            store,
            progress,
            members: 0,
            documents: HashMap::new(),
            document_bytes: 0,
            layers: HashMap::new(),
            links: HashMap::new(),
        }
    }

    /// Takes one member of the archive.
    fn add<R: BufRead>(
        &mut self,
        entry: &Entry,
        reader: &mut TarReader<R>,
    ) -> Result<(), LoadError> {
        self.members += 1;
        if self.members > MAX_MEMBERS {
            return Err(LoadError::TooMuch { what: "members", limit: MAX_MEMBERS as u64 });
        }
        let name = normal_name(&String::from_utf8_lossy(&entry.path));
        match entry.kind {
            EntryKind::File if entry.sparse.is_none() => {}
            EntryKind::HardLink | EntryKind::Symlink => {
                let target = String::from_utf8_lossy(&entry.link);
                self.links.insert(name.clone(), link_target(&name, &target, entry.kind));
                return Ok(());
            }
            _ => return Ok(()),
        }
        let mut data = reader.data();
        let mut start = [0; BLOCK_BYTES];
        let length = read_start(&mut data, &mut start).map_err(read_error)?;
        let start = &start[..length];
        let content = start.chain(data);
        if looks_like_layer(start, entry.size) {
            let result = self.convert(&name, start, content);
            if let Err(LoadError::Layer { source, .. }) = &result
                && source.is_write()
            {
                return result.map(drop);
            }
            self.layers.insert(name, Candidate { size: entry.size, result });
        } else if looks_like_json(start) && entry.size <= MAX_DOCUMENT_BYTES {
            self.document_bytes += entry.size;
            if self.document_bytes > MAX_DOCUMENTS_BYTES {
                let limit = MAX_DOCUMENTS_BYTES;
                return Err(LoadError::TooMuch { what: "bytes of documents", limit });
            }
            let mut document = Vec::new();
            content.take(entry.size).read_to_end(&mut document).map_err(read_error)?;
            self.documents.insert(name, document);
        }
        Ok(())
    }

    /// Takes one layer of a layout folder, if it was not taken for another image.
    fn add_file(&mut self, folder: &Path, planned: &PlannedLayer) -> Result<(), LoadError> {
        let name = planned.name.clone();
        if self.layers.contains_key(&name) {
            return Ok(());
        }
        let unreadable = |source| {
            LoadError::Manifest(ManifestError::Read { name: name.clone(), source })
        };
        let file = File::open(folder.join(&name)).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
        let start = file.fill_buf().map_err(unreadable)?;
        let start = start[..start.len().min(BLOCK_BYTES)].to_vec();
        let result = self.convert(&name, &start, file);
        self.layers.insert(name, Candidate { size, result });
        Ok(())
    }

    /// Reads a layer to its end: into an image file, or only to verify it if the store has it.
    fn convert(
        &self,
        name: &str,
        start: &[u8],
        content: impl BufRead,
    ) -> Result<StagedLayer, LoadError> {
        let compression = Compression::sniff(start);
        let named = digest_in_name(name);
        let layer = match named.filter(|_| compression == Compression::None) {
            Some(digest) => match self.pin(name, digest, content)? {
                Ok(pinned) => pinned,
                Err(content) => self.convert_plain(name, content)?,
            },
            None => {
                let verified = named.filter(|_| name.starts_with(BLOBS_PREFIX));
                self.convert_compressed(name, compression, content, verified)?
            }
        };
        (self.progress)(LoadEvent::Layer {
            diff_id: layer.diff_id,
            size: layer.size(),
            present: layer.is_pinned(),
        });
        Ok(layer)
    }

    /// If the store has the layer that a member's name promises, verifies the member and uses that;
    /// else gives the content back.
    fn pin<R: BufRead>(
        &self,
        name: &str,
        digest: Digest,
        content: R,
    ) -> Result<Result<StagedLayer, R>, LoadError> {
        let Some(pinned) = self.store.pin_layer(digest).map_err(LoadError::Store)? else {
            return Ok(Err(content));
        };
        let (actual, _) = HashingReader::new(content)
            .and_then(HashingReader::finish)
            .map_err(read_error)?;
        check_digest(name, digest, actual)?;
        Ok(Ok(pinned))
    }

    fn convert_plain(&self, name: &str, content: impl Read) -> Result<StagedLayer, LoadError> {
        self.store.stage_layer(content).map_err(|error| error.at(name))
    }

    /// Converts a compressed layer; `expected` is the digest of its compressed bytes.
    fn convert_compressed(
        &self,
        name: &str,
        compression: Compression,
        content: impl BufRead,
        expected: Option<Digest>,
    ) -> Result<StagedLayer, LoadError> {
        let Some(expected) = expected else {
            let plain = Decompressor::new(content, compression).map_err(read_error)?;
            return self.convert_plain(name, plain);
        };
        let hashed = HashingReader::new(content).map_err(read_error)?;
        let mut plain = Decompressor::new(hashed, compression).map_err(read_error)?;
        let layer = self.convert_plain(name, &mut plain)?;
        let (actual, _) = plain.into_inner().finish().map_err(read_error)?;
        check_digest(name, expected, actual)?;
        Ok(layer)
    }

    /// A document by its name or by a link to it.
    fn document(&self, name: &str) -> Option<Vec<u8>> {
        self.documents.get(&self.follow(name)).cloned()
    }

    /// The name of the member that `name` leads to.
    fn follow(&self, name: &str) -> String {
        let mut name = normal_name(name);
        for _ in 0..MAX_LINKS {
            match self.links.get(&name) {
                Some(target) => name.clone_from(target),
                None => break,
            }
        }
        name
    }

    /// Gathers an image's layers and verifies that they are the ones its configuration names.
    fn stage(&mut self, image: PlannedImage) -> Result<StagedImage, LoadError> {
        let mut layers = Vec::new();
        for planned in &image.layers {
            let name = self.follow(&planned.name);
            let missing = || ManifestError::Missing { name: planned.name.clone() };
            let candidate = self.layers.get_mut(&name);
            let candidate = candidate.ok_or_else(|| LoadError::Manifest(missing()))?;
            if let Some(expected) = planned.size.filter(|size| *size != candidate.size) {
                return Err(LoadError::Size { name, expected, actual: candidate.size });
            }
            // Several images may share it; the first one takes an error with it.
            let layer = match &candidate.result {
                Ok(layer) => layer.clone(),
                Err(_) => {
                    let candidate = self.layers.remove(&name).expect("found above");
                    return Err(candidate.result.expect_err("matched above"));
                }
            };
            check_digest(&name, planned.diff_id, layer.diff_id)?;
            layers.push(layer);
        }
        let PlannedImage { id, config_json, references, .. } = image;
        Ok(StagedImage { id, config_json, layers, references })
    }
}

fn check_digest(name: &str, expected: Digest, actual: Digest) -> Result<(), LoadError> {
    if expected == actual {
        return Ok(());
    }
    Err(LoadError::Digest { name: name.to_owned(), expected, actual })
}

fn read_error(error: io::Error) -> LoadError {
    LoadError::Read(TarError::from(error))
}

/// Fills `start` as far as there is content.
fn read_start(input: &mut impl Read, start: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < start.len() {
        match input.read(&mut start[length..])? {
            0 => break,
            count => length += count,
        }
    }
    Ok(length)
}

/// Compressed, a tar header, or the two empty blocks that are a tar of nothing.
fn looks_like_layer(start: &[u8], size: u64) -> bool {
    if Compression::sniff(start) != Compression::None {
        return true;
    }
    let Ok(block) = <&[u8; BLOCK_BYTES]>::try_from(start) else { return false };
    let is_empty_tar = *block == [0; BLOCK_BYTES] && size.is_multiple_of(BLOCK_BYTES as u64);
    Header::is_header(block) || is_empty_tar
}

fn looks_like_json(start: &[u8]) -> bool {
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(first, Some(b'{' | b'['))
}

/// A link's target as a path in the archive: hard links name one, symbolic links are relative to
/// their folder.
fn link_target(name: &str, target: &str, kind: EntryKind) -> String {
    if kind == EntryKind::HardLink || target.starts_with('/') {
        return normal_name(target);
    }
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

/// A document of a layout folder.
fn read_document(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, ManifestError> {
    let failed = |source| ManifestError::Read { name: name.to_owned(), source };
    let file = match File::open(folder.join(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_DOCUMENT_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
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
