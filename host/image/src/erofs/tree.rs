//! The folders of a layer while it is being read: entries come, replace each other and go.
//!
//! Only names and places are kept, some hundred bytes an entry; what a file holds is already in the
//! output. A leaf is one inode and may have several names. Detached folders and leaves stay in their
//! vectors, so ids remain valid.

use std::collections::BTreeMap;

use super::batch::Location;
use super::{Attributes, FileType};

/// Most entries of a layer, those replaced later included: this bounds memory to some 500 MiB for an
/// archive made to fill it. The largest images known have some hundred thousand.
const MAX_ENTRIES: usize = 1 << 21;

/// Attribute bytes of all folders together: they are kept until the end.
const MAX_FOLDER_XATTR_BYTES: usize = 32 << 20;

/// A folder of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DirectoryId(u32);

/// An inode that is no folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeafId(u32);

/// What a name refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Child {
    Directory(DirectoryId),
    Leaf(LeafId),
    /// Hides the name in lower layers.
    Whiteout,
}

/// One folder.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(super) parent: DirectoryId,
    pub(super) attributes: Attributes,
    pub(super) children: BTreeMap<Box<[u8]>, Child>,
    /// Hides all that lower layers have in it.
    pub(super) opaque: bool,
}

/// One inode that is no folder.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) location: Location,
    pub(super) links: u32,
    pub(super) file_type: FileType,
}

/// Why an entry cannot be added.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// More than is kept in memory.
    #[error("the layer has more than {MAX_ENTRIES} entries")]
    TooManyEntries,
    /// More than is kept in memory.
    #[error("the attributes of the layer's folders exceed {MAX_FOLDER_XATTR_BYTES} bytes")]
    TooManyAttributes,
}

/// All folders of a layer.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(super) directories: Vec<Directory>,
    pub(super) leaves: Vec<Leaf>,
    whiteouts: usize,
    xattr_bytes: usize,
}

impl Tree {
    /// The root folder.
    pub(crate) const ROOT: DirectoryId = DirectoryId(0);

    /// Permissions of a folder no archive entry describes.
    const IMPLICIT_MODE: u16 = 0o755;

    /// A tree with an empty root.
    pub(crate) fn new() -> Self {
        let attributes = Attributes {
            mode: Self::IMPLICIT_MODE,
            ..Attributes::default()
        };
        let root = Directory {
            parent: Self::ROOT,
            attributes,
            children: BTreeMap::new(),
            opaque: false,
        };
        Self {
            directories: vec![root],
            leaves: Vec::new(),
            whiteouts: 0,
            xattr_bytes: 0,
        }
    }

    pub(super) fn directory(&self, id: DirectoryId) -> &Directory {
        &self.directories[id.0 as usize]
    }

    fn directory_mut(&mut self, id: DirectoryId) -> &mut Directory {
        &mut self.directories[id.0 as usize]
    }

    pub(super) fn leaf(&self, id: LeafId) -> &Leaf {
        &self.leaves[id.0 as usize]
    }

    /// The type of a leaf's inode.
    pub(crate) fn leaf_type(&self, id: LeafId) -> FileType {
        self.leaf(id).file_type
    }

    /// Looks a name up in a folder.
    pub(crate) fn child(&self, parent: DirectoryId, name: &[u8]) -> Option<Child> {
        self.directory(parent).children.get(name).copied()
    }

    /// Adds a folder that no entry describes (yet), in place of anything but a folder.
    pub(crate) fn add_directory(
        &mut self,
        parent: DirectoryId,
        name: &[u8],
    ) -> Result<DirectoryId, TreeError> {
        if let Some(Child::Directory(existing)) = self.child(parent, name) {
            return Ok(existing);
        }
        self.check_count()?;
        // A whiteout and a folder of one name: lower layers' folder goes, this one stands alone.
        let opaque = self.child(parent, name) == Some(Child::Whiteout);
        let id = DirectoryId(u32::try_from(self.directories.len()).expect("entries are bounded"));
        let attributes = Attributes {
            mode: Self::IMPLICIT_MODE,
            ..Attributes::default()
        };
        self.directories.push(Directory {
            parent,
            attributes,
            children: BTreeMap::new(),
            opaque,
        });
        self.put(parent, name, Child::Directory(id));
        Ok(id)
    }

    /// Gives a folder the attributes of its archive entry.
    pub(crate) fn set_attributes(
        &mut self,
        id: DirectoryId,
        attributes: Attributes,
    ) -> Result<(), TreeError> {
        let added = attributes
            .xattrs
            .iter()
            .map(|(name, value)| name.len() + value.len());
        self.xattr_bytes += added.sum::<usize>();
        if self.xattr_bytes > MAX_FOLDER_XATTR_BYTES {
            return Err(TreeError::TooManyAttributes);
        }
        self.directory_mut(id).attributes = attributes;
        Ok(())
    }

    /// Makes a folder hide what lower layers have in it.
    pub(crate) fn set_opaque(&mut self, id: DirectoryId) {
        self.directory_mut(id).opaque = true;
    }

    /// Takes up an inode that was written; it has no name yet.
    pub(crate) fn add_leaf(
        &mut self,
        file_type: FileType,
        location: Location,
    ) -> Result<LeafId, TreeError> {
        self.check_count()?;
        let id = LeafId(u32::try_from(self.leaves.len()).expect("entries are bounded"));
        self.leaves.push(Leaf {
            location,
            links: 0,
            file_type,
        });
        Ok(id)
    }

    /// Gives an inode a name, in place of whatever had it.
    pub(crate) fn link(&mut self, parent: DirectoryId, name: &[u8], leaf: LeafId) {
        self.leaves[leaf.0 as usize].links += 1;
        self.put(parent, name, Child::Leaf(leaf));
    }

    /// Hides a name of lower layers. An entry of this layer stays; a folder becomes opaque.
    pub(crate) fn add_whiteout(
        &mut self,
        parent: DirectoryId,
        name: &[u8],
    ) -> Result<(), TreeError> {
        match self.child(parent, name) {
            Some(Child::Directory(id)) => self.set_opaque(id),
            Some(Child::Leaf(_) | Child::Whiteout) => {}
            None => {
                self.check_count()?;
                self.whiteouts += 1;
                self.put(parent, name, Child::Whiteout);
            }
        }
        Ok(())
    }

    fn put(&mut self, parent: DirectoryId, name: &[u8], child: Child) {
        let replaced = self
            .directory_mut(parent)
            .children
            .insert(name.into(), child);
        let mut detached: Vec<Child> = replaced.into_iter().collect();
        while let Some(child) = detached.pop() {
            match child {
                Child::Leaf(id) => self.leaves[id.0 as usize].links -= 1,
                Child::Directory(id) => {
                    let children = std::mem::take(&mut self.directory_mut(id).children);
                    detached.extend(children.into_values());
                }
                Child::Whiteout => {}
            }
        }
    }

    fn check_count(&self) -> Result<(), TreeError> {
        let count = self.directories.len() + self.leaves.len() + self.whiteouts;
        if count < MAX_ENTRIES {
            Ok(())
        } else {
            Err(TreeError::TooManyEntries)
        }
    }

    /// All folders that can be reached, parents first, in the order of their names.
    pub(super) fn reachable(&self) -> Vec<DirectoryId> {
        let mut found = vec![Self::ROOT];
        let mut next = 0;
        while let Some(id) = found.get(next).copied() {
            let children = self.directory(id).children.values();
            found.extend(children.filter_map(|child| match child {
                Child::Directory(id) => Some(*id),
                _ => None,
            }));
            next += 1;
        }
        found
    }

    /// How many folders the vectors hold, detached ones included.
    pub(super) fn directory_slots(&self) -> usize {
        self.directories.len()
    }
}

impl DirectoryId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}
