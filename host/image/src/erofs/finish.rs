//! Writes the folders, the shared attributes and the superblock: the end of an image.
//!
//! A folder's entries name its parent's and its children's nodes, so first every folder gets its
//! place ([`Layout`]), then all are written in that order.

use std::fs::File;

use super::batch::Location;
use super::directory::{self, Dirent};
use super::format::{
    BLOCK_BYTES, BLOCK_BYTES_U64, Content, INODE_BYTES, INODE_LINKS_OFFSET, Inode, SLOT_BYTES,
    Superblock,
};
use super::tree::{Child, DirectoryId, Tree};
use super::writer::{Special, Writer};
use super::xattr::XattrTable;
use super::{Attributes, ErofsError, FileType};

/// Where the root inode lies: in the first block, behind the superblock, since its node number has 16
/// bits.
const ROOT_POSITION: u64 = 2048;

/// An image that lacks only its superblock.
#[derive(Debug)]
pub(crate) struct Unsealed {
    writer: Writer,
    first_block: Box<[u8; BLOCK_BYTES]>,
    inodes: u64,
    xattr_address: u32,
    batches: Vec<u64>,
}

impl Unsealed {
    /// Where inodes are, as bytes of the image.
    pub(crate) fn positions(&self, locations: &[Location]) -> Vec<u64> {
        let position = |location: &Location| {
            self.batches[location.batch as usize] + u64::from(location.offset)
        };
        locations.iter().map(position).collect()
    }

    /// Writes the superblock. The uuid comes last because it derives from the digest of the whole
    /// archive the image was made from.
    pub(crate) fn seal(mut self, uuid: [u8; 16]) -> Result<File, ErofsError> {
        let superblock = Superblock {
            root_node: u16::try_from(ROOT_POSITION / SLOT_BYTES).expect("it lies in a block"),
            inodes: self.inodes,
            blocks: self.writer.output.block()?,
            xattr_address: self.xattr_address,
            uuid,
            chunked_files: self.writer.chunked_files,
        };
        superblock.encode_into(&mut self.first_block);
        self.writer.output.patch(0, self.first_block.as_slice())?;
        Ok(self.writer.output.finish()?)
    }
}

impl Writer {
    /// Writes all folders of `tree`.
    pub(crate) fn finish(mut self, tree: &Tree) -> Result<Unsealed, ErofsError> {
        let reachable = tree.reachable();
        let hidden = count_whiteouts(tree, &reachable);
        let whiteout = match hidden {
            0 => None,
            _ => Some(self.add_special(&Attributes::default(), Special::CharacterDevice(0, 0))?),
        };
        self.flush_batch()?;
        let mut layout = Layout {
            tree,
            whiteout,
            places: Vec::new(),
            reachable,
            batches: Vec::new(),
        };
        layout.batches = std::mem::take(&mut self.positions);
        layout.place_folders(&mut self.xattrs, self.output.position())?;
        let first_block = self.write_inodes(&layout)?;
        self.write_blocks(&layout)?;
        let xattr_address = self.write_shared_xattrs()?;
        let leaves = tree.leaves.iter().filter(|leaf| leaf.links > 0);
        let links = leaves.clone().map(|leaf| (leaf.location, leaf.links));
        for (location, links) in links.chain(whiteout.map(|location| (location, hidden))) {
            self.patch_links(layout.position(location), links)?;
        }
        let inodes = layout.reachable.len() + leaves.count() + usize::from(hidden > 0);
        Ok(Unsealed {
            writer: self,
            first_block,
            inodes: inodes as u64,
            xattr_address,
            batches: layout.batches,
        })
    }

    /// Writes the inodes of all folders but the root, whose block is returned.
    fn write_inodes(&mut self, layout: &Layout<'_>) -> Result<Box<[u8; BLOCK_BYTES]>, ErofsError> {
        let mut first_block = Box::new([0; BLOCK_BYTES]);
        for id in &layout.reachable {
            let record = layout.record(*id, self.next_number);
            self.next_number += 1;
            if *id == Tree::ROOT {
                let start = usize::try_from(ROOT_POSITION).expect("it lies in the first block");
                first_block[start..start + record.len()].copy_from_slice(&record);
                continue;
            }
            self.output
                .zeros(layout.place(*id).position - self.output.position())?;
            self.output.write(&record)?;
        }
        self.output.pad_to_block()?;
        Ok(first_block)
    }

    /// Writes what did not fit behind the inodes.
    fn write_blocks(&mut self, layout: &Layout<'_>) -> Result<(), ErofsError> {
        for id in &layout.reachable {
            let place = layout.place(*id);
            if place.block_bytes() > 0 {
                debug_assert_eq!(self.output.block()?, place.first_block, "as laid out");
                self.output
                    .write(&layout.content(*id)[..place.block_bytes()])?;
                self.output.pad_to_block()?;
            }
        }
        Ok(())
    }

    fn write_shared_xattrs(&mut self) -> Result<u32, ErofsError> {
        if self.xattrs.shared().is_empty() {
            return Ok(0);
        }
        let address = self.output.block()?;
        self.output.write(self.xattrs.shared())?;
        self.output.pad_to_block()?;
        Ok(address)
    }

    /// Corrects a link count, which was written as one before all names were known.
    fn patch_links(&mut self, inode: u64, links: u32) -> Result<(), ErofsError> {
        if links > 1 {
            self.output
                .patch(inode + INODE_LINKS_OFFSET, &links.to_le_bytes())?;
        }
        Ok(())
    }
}

/// Where a folder goes.
#[derive(Debug, Clone, Default)]
struct Place {
    position: u64,
    xattrs: Vec<u8>,
    content_bytes: usize,
    /// Bytes of the content that lie behind the inode; the others are in blocks.
    inline_bytes: usize,
    first_block: u32,
}

impl Place {
    fn block_bytes(&self) -> usize {
        self.content_bytes - self.inline_bytes
    }
}

/// Where all inodes are or will be.
struct Layout<'a> {
    tree: &'a Tree,
    /// All folders of the image, parents first.
    reachable: Vec<DirectoryId>,
    /// By folder number; detached folders have an empty place.
    places: Vec<Place>,
    /// Where each batch of leaves was written.
    batches: Vec<u64>,
    /// The one inode that all whiteouts name.
    whiteout: Option<Location>,
}

impl Layout<'_> {
    /// Gives every folder its place from `start` on: first all inodes, then all blocks.
    fn place_folders(&mut self, xattrs: &mut XattrTable, start: u64) -> Result<(), ErofsError> {
        self.places = vec![Place::default(); self.tree.directory_slots()];
        let mut cursor = start;
        for id in &self.reachable {
            let folder = self.tree.directory(*id);
            let xattrs = xattrs.encode(&folder.attributes.xattrs, folder.opaque);
            let xattrs = xattrs.map_err(ErofsError::Xattr)?;
            let content_bytes = self.content(*id).len();
            let tail = content_bytes % BLOCK_BYTES;
            let head = INODE_BYTES + xattrs.len();
            let is_root = *id == Tree::ROOT;
            let room = BLOCK_BYTES_U64 - if is_root { ROOT_POSITION } else { 0 };
            let inline_bytes = if (head + tail) as u64 <= room {
                tail
            } else {
                0
            };
            let position = if is_root {
                ROOT_POSITION
            } else {
                let record = (head + inline_bytes) as u64;
                let position = next_place(cursor, record);
                cursor = position + record;
                position
            };
            let place = Place {
                position,
                xattrs,
                content_bytes,
                inline_bytes,
                first_block: 0,
            };
            self.places[id.index()] = place;
        }
        let mut block = cursor.div_ceil(BLOCK_BYTES_U64);
        for id in &self.reachable {
            let place = &mut self.places[id.index()];
            place.first_block = u32::try_from(block).map_err(|_| ErofsError::TooLarge)?;
            block += place.block_bytes().div_ceil(BLOCK_BYTES) as u64;
        }
        Ok(())
    }

    fn place(&self, id: DirectoryId) -> &Place {
        &self.places[id.index()]
    }

    /// The byte offset of a leaf.
    fn position(&self, location: Location) -> u64 {
        self.batches[location.batch as usize] + u64::from(location.offset)
    }

    /// A folder's inode, its attributes, and its tail.
    fn record(&self, id: DirectoryId, number: u32) -> Vec<u8> {
        let folder = self.tree.directory(id);
        let place = self.place(id);
        let subfolders = folder.children.values();
        let subfolders = subfolders
            .filter(|child| matches!(child, Child::Directory(_)))
            .count();
        let attributes = &folder.attributes;
        let content = match place.inline_bytes {
            0 => Content::Plain(place.first_block),
            _ => Content::Inline(place.first_block),
        };
        let inode = Inode {
            file_type: FileType::Directory,
            mode: attributes.mode,
            size: place.content_bytes as u64,
            content,
            number,
            uid: attributes.uid,
            gid: attributes.gid,
            mtime_seconds: attributes.mtime_seconds,
            mtime_nanoseconds: attributes.mtime_nanoseconds,
            links: u32::try_from(subfolders + 2).expect("entries are bounded"),
            xattr_bytes: place.xattrs.len(),
        };
        let content = self.content(id);
        [
            inode.encode().as_slice(),
            &place.xattrs,
            &content[place.block_bytes()..],
        ]
        .concat()
    }

    /// A folder's entries. Before all places are known the node numbers are wrong, but the length is
    /// right.
    fn content(&self, id: DirectoryId) -> Vec<u8> {
        let folder = self.tree.directory(id);
        let dots = [(b".".as_slice(), id), (b"..", folder.parent)];
        let dots = dots.map(|(name, id)| self.dirent(name, Child::Directory(id)));
        let children = folder
            .children
            .iter()
            .map(|(name, child)| self.dirent(name, *child));
        directory::encode(dots.into_iter().chain(children).collect())
    }

    fn dirent<'b>(&self, name: &'b [u8], child: Child) -> Dirent<'b> {
        let (position, file_type) = match child {
            Child::Directory(id) => (self.place(id).position, FileType::Directory),
            Child::Leaf(id) => {
                let leaf = self.tree.leaf(id);
                (self.position(leaf.location), leaf.file_type)
            }
            Child::Whiteout => {
                let location = self.whiteout.expect("written if there is one");
                (self.position(location), FileType::CharacterDevice)
            }
        };
        Dirent {
            name,
            node: position / SLOT_BYTES,
            file_type,
        }
    }
}

/// The first place from `cursor` on where a record starts at a slot and does not cross a block.
fn next_place(cursor: u64, record: u64) -> u64 {
    let start = cursor.next_multiple_of(SLOT_BYTES);
    let crosses = start % BLOCK_BYTES_U64 + record > BLOCK_BYTES_U64;
    if crosses {
        start.next_multiple_of(BLOCK_BYTES_U64)
    } else {
        start
    }
}

fn count_whiteouts(tree: &Tree, reachable: &[DirectoryId]) -> u32 {
    let children = reachable
        .iter()
        .flat_map(|id| tree.directory(*id).children.values());
    let count = children
        .filter(|child| matches!(child, Child::Whiteout))
        .count();
    u32::try_from(count).expect("entries are bounded")
}
