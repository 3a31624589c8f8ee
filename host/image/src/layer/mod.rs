//! Turns one layer archive into one EROFS file.
//!
//! [`convert`] reads the tar once. Each entry's path is checked ([`path`]) and put into the tree; its
//! data goes to the output at once. OCI whiteouts become what overlayfs understands: a character
//! device 0:0, or the attribute `trusted.overlay.opaque`. The archive's digest, the diff id, names the
//! result and seeds its uuid, so the same archive always gives the same bytes.

mod path;
mod split;

use std::fs::File;
use std::io::{BufRead, Read};

use crate::digest::Digest;
use crate::erofs::{
    Attributes, Child, DirectoryId, ErofsError, FileType, LeafId, Location, Special, Tree,
    TreeError, Writer,
};
use crate::hashing::HashingReader;
use crate::tar::{Entry, EntryKind, Extent, TarError, TarReader};

use path::LayerPath;
pub use path::PathError;
pub(crate) use split::Assembler;
use split::Recorder;

/// Prefix of a whiteout's name (OCI image specification, "Whiteouts").
const WHITEOUT_PREFIX: &[u8] = b".wh.";

/// The name that makes its folder opaque.
const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";

/// Prefix of AUFS's own files, which are no part of the image.
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// Longest symbolic link: one byte less than Linux's `PATH_MAX` with its NUL.
const MAX_LINK_BYTES: usize = 4095;

/// Most bytes of a layer archive once decompressed (16 TiB, what the image can address): the end of a
/// decompression bomb.
const MAX_LAYER_BYTES: u64 = 1 << 44;

/// Why a layer was refused. `path` is as the archive has it.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The archive is damaged or truncated.
    #[error("the layer archive is invalid")]
    Archive(#[source] TarError),
    /// Reading or decompressing failed.
    #[error("failed to read the layer")]
    Read(#[source] std::io::Error),
    /// The result could not be written.
    #[error("failed to write the layer")]
    Write(#[source] ErofsError),
    /// A path that may not be in a layer.
    #[error("refused the path {path:?}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        #[source]
        source: PathError,
    },
    /// Too much of something.
    #[error("failed to add the path {path:?}")]
    Tree {
        /// The path.
        path: String,
        /// What there is too much of.
        #[source]
        source: TreeError,
    },
    /// More bytes than a layer may have.
    #[error("the layer has more than {MAX_LAYER_BYTES} bytes")]
    TooLarge,
}

impl LayerError {
    /// Whether writing failed, which says nothing about the archive.
    pub(crate) fn is_write(&self) -> bool {
        matches!(self, Self::Write(ErofsError::Write(_)))
    }
}

impl From<TarError> for LayerError {
    fn from(error: TarError) -> Self {
        Self::Archive(error)
    }
}

impl From<std::io::Error> for LayerError {
    fn from(error: std::io::Error) -> Self {
        Self::Archive(TarError::from(error))
    }
}

impl From<ErofsError> for LayerError {
    fn from(error: ErofsError) -> Self {
        Self::Write(error)
    }
}

/// A converted layer.
#[derive(Debug)]
pub(crate) struct Converted {
    /// Digest of the uncompressed archive.
    pub(crate) diff_id: Digest,
    /// The image file, written but not synced.
    pub(crate) file: File,
    /// What [`Assembler`] needs beside the image, written but not synced.
    pub(crate) split: File,
}

/// Reads an uncompressed layer archive to its end and writes its image into the empty file `output`,
/// and what the image does not have of the archive into `split`.
pub(crate) fn convert(
    archive: impl Read,
    output: File,
    split: File,
) -> Result<Converted, LayerError> {
    let limited = archive.take(MAX_LAYER_BYTES + 1);
    let reader = HashingReader::new(limited).map_err(LayerError::Read)?;
    let recorder = Recorder::new(reader, split).map_err(ErofsError::Write)?;
    let mut reader = TarReader::new(recorder);
    let mut builder = LayerBuilder {
        tree: Tree::new(),
        writer: Writer::new(output)?,
        files: Vec::new(),
    };
    let built = builder.add_all(&mut reader);
    let mut recorder = reader.into_inner();
    if let Some(error) = recorder.take_failure() {
        return Err(ErofsError::Write(error).into());
    }
    built?;
    let unsealed = builder.writer.finish(&builder.tree)?;
    let positions = unsealed.positions(&builder.files);
    let (reader, split) = recorder.finish(&positions)?;
    let (diff_id, total) = reader.finish()?;
    if total > MAX_LAYER_BYTES {
        return Err(LayerError::TooLarge);
    }
    Ok(Converted {
        diff_id,
        file: unsealed.seal(uuid(&diff_id))?,
        split,
    })
}

/// A version 8 (custom) UUID, RFC 9562 section 5.8, from the first bits of the digest.
fn uuid(diff_id: &Digest) -> [u8; 16] {
    const VERSION: u8 = 8 << 4;
    const VARIANT: u8 = 0b10 << 6;
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&diff_id.as_bytes()[..16]);
    uuid[6] = uuid[6] & 0x0f | VERSION;
    uuid[8] = uuid[8] & 0x3f | VARIANT;
    uuid
}

/// The image so far.
struct LayerBuilder {
    tree: Tree,
    writer: Writer,
    /// Regular files in the order of the archive.
    files: Vec<Location>,
}

impl LayerBuilder {
    fn add_all<R: BufRead>(
        &mut self,
        reader: &mut TarReader<Recorder<R>>,
    ) -> Result<(), LayerError> {
        while let Some(entry) = reader.next_entry()? {
            self.add(entry, reader)?;
        }
        Ok(())
    }

    fn add<R: BufRead>(
        &mut self,
        entry: Entry,
        reader: &mut TarReader<Recorder<R>>,
    ) -> Result<(), LayerError> {
        if entry.kind == EntryKind::Other {
            return Ok(());
        }
        let path = LayerPath::parse(&entry.path).map_err(|source| refused(&entry.path, source))?;
        let Some((name, parents)) = path.split() else {
            return self.add_root(entry);
        };
        let parent = self.folder(parents, &entry.path)?;
        if name.starts_with(AUFS_PREFIX) {
            if name == OPAQUE_WHITEOUT {
                self.tree.set_opaque(parent);
            }
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT_PREFIX) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(refused(&entry.path, PathError::BadWhiteout));
            }
            let added = self.tree.add_whiteout(parent, hidden);
            return added.map_err(|source| too_much(&entry.path, source));
        }
        if entry.kind == EntryKind::Directory {
            let shown = entry.path.clone();
            let added = self.tree.add_directory(parent, name);
            let id = added.map_err(|source| too_much(&shown, source))?;
            let set = self.tree.set_attributes(id, attributes(entry));
            return set.map_err(|source| too_much(&shown, source));
        }
        let leaf = self.leaf(&entry, reader)?;
        // A link to itself would first lose the name it needs.
        if self.tree.child(parent, name) != Some(Child::Leaf(leaf)) {
            self.tree.link(parent, name, leaf);
        }
        Ok(())
    }

    /// An entry for the root: only a folder can be one.
    fn add_root(&mut self, entry: Entry) -> Result<(), LayerError> {
        if entry.kind != EntryKind::Directory {
            return Err(refused(&entry.path, PathError::RootIsNoFolder));
        }
        let shown = entry.path.clone();
        let set = self.tree.set_attributes(Tree::ROOT, attributes(entry));
        set.map_err(|source| too_much(&shown, source))
    }

    /// The folder an entry goes into; missing ones are made.
    fn folder(&mut self, parents: &[&[u8]], path: &[u8]) -> Result<DirectoryId, LayerError> {
        let mut folder = Tree::ROOT;
        for name in parents {
            if let Some(Child::Leaf(leaf)) = self.tree.child(folder, name) {
                let is_link = self.tree.leaf_type(leaf) == FileType::Symlink;
                let source = if is_link {
                    PathError::ThroughLink
                } else {
                    PathError::ThroughFile
                };
                return Err(refused(path, source));
            }
            let added = self.tree.add_directory(folder, name);
            folder = added.map_err(|source| too_much(path, source))?;
        }
        Ok(folder)
    }

    /// Writes an entry's inode, or finds the one it links to.
    fn leaf<R: BufRead>(
        &mut self,
        entry: &Entry,
        reader: &mut TarReader<Recorder<R>>,
    ) -> Result<LeafId, LayerError> {
        let attributes = attributes(entry.clone());
        let (major, minor) = entry.device;
        let special = match entry.kind {
            EntryKind::HardLink => return self.link_target(entry),
            EntryKind::Symlink => {
                if entry.link.is_empty() || entry.link.len() > MAX_LINK_BYTES {
                    return Err(refused(&entry.path, PathError::BadLinkLength));
                }
                Some((FileType::Symlink, Special::Symlink(&entry.link)))
            }
            EntryKind::CharacterDevice => Some((
                FileType::CharacterDevice,
                Special::CharacterDevice(major, minor),
            )),
            EntryKind::BlockDevice => {
                Some((FileType::BlockDevice, Special::BlockDevice(major, minor)))
            }
            EntryKind::Fifo => Some((FileType::Fifo, Special::Fifo)),
            EntryKind::File | EntryKind::Directory | EntryKind::Other => None,
        };
        let (file_type, location) = match special {
            Some((file_type, special)) => {
                (file_type, self.writer.add_special(&attributes, special)?)
            }
            None => {
                let mut file = self.writer.begin_file(entry.size)?;
                let whole = [Extent {
                    offset: 0,
                    length: entry.size,
                }];
                let mut position = 0;
                for extent in entry.sparse.as_deref().unwrap_or(&whole) {
                    file.zeros(extent.offset - position)?;
                    position = extent.offset + extent.length;
                    let mut left = extent.length;
                    let number = self.files.len() as u64;
                    reader.input_mut().begin_content(number, extent.offset);
                    while left > 0 {
                        let mut data = reader.data();
                        let available = data.fill_buf()?;
                        let part = usize::try_from(left)
                            .unwrap_or(usize::MAX)
                            .min(available.len());
                        file.data(&available[..part])?;
                        data.consume(part);
                        left -= part as u64;
                    }
                    reader.input_mut().end_content();
                }
                file.zeros(entry.size - position)?;
                let location = file.finish(&attributes)?;
                self.files.push(location);
                (FileType::Regular, location)
            }
        };
        let added = self.tree.add_leaf(file_type, location);
        added.map_err(|source| too_much(&entry.path, source))
    }

    /// The inode a hard link names: it must be an earlier entry of this archive.
    fn link_target(&self, entry: &Entry) -> Result<LeafId, LayerError> {
        let refuse = |source| refused(&entry.path, source);
        let target = LayerPath::parse(&entry.link).map_err(|_| refuse(PathError::LinkOutside))?;
        let (name, parents) = target
            .split()
            .ok_or_else(|| refuse(PathError::LinkToFolder))?;
        let mut folder = Tree::ROOT;
        for parent in parents {
            match self.tree.child(folder, parent) {
                Some(Child::Directory(id)) => folder = id,
                Some(Child::Leaf(_)) => return Err(refuse(PathError::ThroughLink)),
                Some(Child::Whiteout) | None => return Err(refuse(PathError::LinkTargetMissing)),
            }
        }
        match self.tree.child(folder, name) {
            Some(Child::Leaf(leaf)) => Ok(leaf),
            Some(Child::Directory(_)) => Err(refuse(PathError::LinkToFolder)),
            Some(Child::Whiteout) | None => Err(refuse(PathError::LinkTargetMissing)),
        }
    }
}

fn attributes(entry: Entry) -> Attributes {
    Attributes {
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime_seconds: entry.mtime.seconds,
        mtime_nanoseconds: entry.mtime.nanoseconds,
        xattrs: entry.xattrs,
    }
}

fn refused(path: &[u8], source: PathError) -> LayerError {
    LayerError::Path {
        path: String::from_utf8_lossy(path).into_owned(),
        source,
    }
}

fn too_much(path: &[u8], source: TreeError) -> LayerError {
    LayerError::Tree {
        path: String::from_utf8_lossy(path).into_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
