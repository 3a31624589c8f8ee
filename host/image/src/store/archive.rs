//! The members of an archive as they come by: layers are converted at once, documents kept.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::ImageStore;
use super::commit::{StagedImage, StagedLayer};
use super::load::{BUFFER_BYTES, LoadError, LoadEvent, MAX_DOCUMENT_BYTES, read_error};
use crate::decompress::{Compression, Decompressor};
use crate::digest::Digest;
use crate::hashing::HashingReader;
use crate::manifest::{
    BLOBS_PREFIX, ManifestError, PlannedImage, PlannedLayer, digest_in_name, normal_name,
};
use crate::tar::{BLOCK_BYTES, Entry, EntryKind, Header, TarReader};

/// Most bytes of all documents, which are kept until the end of the archive.
const MAX_DOCUMENTS_BYTES: u64 = 64 << 20;

/// Most members of an archive; an image has a few per layer.
const MAX_MEMBERS: usize = 65_536;

/// How many links lead from a layer's name to its file, at most; old `docker save` makes one.
const MAX_LINKS: usize = 8;

/// One member that looked like a layer.
#[derive(Debug)]
struct Candidate {
    /// Its stored bytes.
    size: u64,
    /// The layer, or why it is none. That only matters if a manifest names it.
    result: Result<StagedLayer, LoadError>,
}

/// What came by so far.
pub(super) struct Archive<'a> {
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
    pub(super) fn new(store: &'a ImageStore, progress: &'a dyn Fn(LoadEvent)) -> Self {
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
    pub(super) fn add<R: BufRead>(
        &mut self,
        entry: &Entry,
        reader: &mut TarReader<R>,
    ) -> Result<(), LoadError> {
        self.members += 1;
        if self.members > MAX_MEMBERS {
            return Err(LoadError::TooMuch {
                what: "members",
                limit: MAX_MEMBERS as u64,
            });
        }
        let name = normal_name(&String::from_utf8_lossy(&entry.path));
        match entry.kind {
            EntryKind::File if entry.sparse.is_none() => {}
            EntryKind::HardLink | EntryKind::Symlink => {
                let target = String::from_utf8_lossy(&entry.link);
                self.links
                    .insert(name.clone(), link_target(&name, &target, entry.kind));
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
            self.layers.insert(
                name,
                Candidate {
                    size: entry.size,
                    result,
                },
            );
        } else if looks_like_json(start) && entry.size <= MAX_DOCUMENT_BYTES {
            self.document_bytes += entry.size;
            if self.document_bytes > MAX_DOCUMENTS_BYTES {
                let limit = MAX_DOCUMENTS_BYTES;
                return Err(LoadError::TooMuch {
                    what: "bytes of documents",
                    limit,
                });
            }
            let mut document = Vec::new();
            content
                .take(entry.size)
                .read_to_end(&mut document)
                .map_err(read_error)?;
            self.documents.insert(name, document);
        }
        Ok(())
    }

    /// Takes one layer of a layout folder, if it was not taken for another image.
    pub(super) fn add_file(
        &mut self,
        folder: &Path,
        planned: &PlannedLayer,
    ) -> Result<(), LoadError> {
        let name = planned.name.clone();
        if self.layers.contains_key(&name) {
            return Ok(());
        }
        let unreadable = |source| {
            LoadError::Manifest(ManifestError::Read {
                name: name.clone(),
                source,
            })
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
        self.store
            .stage_layer(content)
            .map_err(|error| error.at(name))
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
    pub(super) fn document(&self, name: &str) -> Option<Vec<u8>> {
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
    pub(super) fn stage(&mut self, image: PlannedImage) -> Result<StagedImage, LoadError> {
        let mut layers = Vec::new();
        for planned in &image.layers {
            let name = self.follow(&planned.name);
            let missing = || ManifestError::Missing {
                name: planned.name.clone(),
            };
            let candidate = self.layers.get_mut(&name);
            let candidate = candidate.ok_or_else(|| LoadError::Manifest(missing()))?;
            if let Some(expected) = planned.size.filter(|size| *size != candidate.size) {
                return Err(LoadError::Size {
                    name,
                    expected,
                    actual: candidate.size,
                });
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
        let PlannedImage {
            id,
            config_json,
            references,
            ..
        } = image;
        Ok(StagedImage {
            id,
            config_json,
            layers,
            references,
            manifest: None,
        })
    }
}

fn check_digest(name: &str, expected: Digest, actual: Digest) -> Result<(), LoadError> {
    if expected == actual {
        return Ok(());
    }
    Err(LoadError::Digest {
        name: name.to_owned(),
        expected,
        actual,
    })
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
    let Ok(block) = <&[u8; BLOCK_BYTES]>::try_from(start) else {
        return false;
    };
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
    for part in target
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
    {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}
