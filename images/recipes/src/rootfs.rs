//! A root file system held in memory: merged from package archives, finished by a recipe, written as
//! one tar.
//!
//! Owners, modes and times are what the archives carry, never the building host's. Paths are bytes
//! relative to the root without a leading slash; the empty path is the root itself. The map is
//! ordered, so the tar is too: parents come before their children and every build is the same.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail};

/// Top-level folders that are links into `/usr` since Debian 12; package paths below them move.
/// See <https://wiki.debian.org/UsrMerge>.
const MERGED_USR: [&str; 5] = ["bin", "sbin", "lib", "lib64", "libx32"];

/// What an entry is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Directory,
    /// Hard links share one `Rc`.
    File(Rc<Vec<u8>>),
    Symlink(Vec<u8>),
}

/// One entry of the file system.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: u64,
}

/// The whole tree.
#[derive(Debug, Default)]
pub(crate) struct Rootfs {
    nodes: BTreeMap<Vec<u8>, Node>,
    /// The newest time of all entries there ever were.
    newest: u64,
}

impl Rootfs {
    /// An empty tree whose new entries get the time `epoch`.
    pub(crate) fn at(epoch: u64) -> Self {
        Self {
            nodes: BTreeMap::new(),
            newest: epoch,
        }
    }

    /// The newest modification time of all entries: the one clock a build may use.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// Adds or replaces a folder owned by root.
    pub(crate) fn directory(&mut self, path: &str, mode: u32) {
        self.insert(path, Kind::Directory, mode);
    }

    /// Adds or replaces a file owned by root.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) {
        self.insert(path, Kind::File(Rc::new(content.into())), mode);
    }

    /// Adds or replaces a symbolic link.
    pub(crate) fn symlink(&mut self, path: &str, target: &str) {
        self.insert(path, Kind::Symlink(target.as_bytes().to_vec()), 0o777);
    }

    fn insert(&mut self, path: &str, kind: Kind, mode: u32) {
        let mtime = self.newest();
        self.nodes.insert(
            path.as_bytes().to_vec(),
            Node {
                kind,
                mode,
                uid: 0,
                gid: 0,
                mtime,
            },
        );
    }

    /// Whether there is anything at `path`.
    pub(crate) fn contains(&self, path: &str) -> bool {
        self.nodes.contains_key(path.as_bytes())
    }

    /// Gives an existing entry other owners and another mode.
    pub(crate) fn own(&mut self, path: &str, uid: u64, gid: u64, mode: u32) -> Result<()> {
        let node = self
            .nodes
            .get_mut(path.as_bytes())
            .with_context(|| format!("{path} is missing"))?;
        node.uid = uid;
        node.gid = gid;
        node.mode = mode;
        Ok(())
    }

    /// The content of a file.
    pub(crate) fn read(&self, path: &str) -> Result<&[u8]> {
        match self.nodes.get(path.as_bytes()).map(|node| &node.kind) {
            Some(Kind::File(content)) => Ok(content),
            Some(_) => bail!("{path} is not a file"),
            None => bail!("{path} is missing"),
        }
    }

    /// Copies a file to another path, mode and owner root.
    pub(crate) fn copy(&mut self, from: &str, to: &str, mode: u32) -> Result<()> {
        let content = self.read(from)?.to_vec();
        self.file(to, mode, content);
        Ok(())
    }

    /// Appends to a file.
    pub(crate) fn append(&mut self, path: &str, text: &str) -> Result<()> {
        let mut content = self.read(path)?.to_vec();
        content.extend_from_slice(text.as_bytes());
        let node = self
            .nodes
            .get_mut(path.as_bytes())
            .with_context(|| format!("{path} is missing"))?;
        node.kind = Kind::File(Rc::new(content));
        Ok(())
    }

    /// Merges a package's file archive and returns the paths it lists, as `dpkg -L` prints them.
    pub(crate) fn merge(&mut self, archive: impl Read) -> Result<Vec<String>> {
        let mut listed = Vec::new();
        let mut archive = tar::Archive::new(archive);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = normal(&entry.path_bytes());
            listed.push(format!("/{}", String::from_utf8_lossy(&path)));
            let path = merged_usr(path);
            let header = entry.header();
            let (mode, uid) = (header.mode()? & 0o7777, header.uid()?);
            let (gid, mtime) = (header.gid()?, header.mtime()?);
            let kind = match header.entry_type() {
                tar::EntryType::Directory => Kind::Directory,
                tar::EntryType::Symlink => Kind::Symlink(
                    entry
                        .link_name_bytes()
                        .context("link without target")?
                        .to_vec(),
                ),
                tar::EntryType::Link => {
                    let target = entry.link_name_bytes().context("link without target")?;
                    let target = merged_usr(normal(&target));
                    let node = self
                        .nodes
                        .get(&target)
                        .context("hard link to a missing file")?;
                    self.nodes.insert(path, node.clone());
                    continue;
                }
                tar::EntryType::Regular => {
                    let mut content = Vec::with_capacity(usize::try_from(entry.size())?);
                    entry.read_to_end(&mut content)?;
                    Kind::File(Rc::new(content))
                }
                other => bail!("unexpected entry type {other:?} in a package"),
            };
            let replaces_link = matches!(kind, Kind::Directory)
                && matches!(
                    self.nodes.get(&path),
                    Some(Node {
                        kind: Kind::Symlink(_),
                        ..
                    })
                );
            if !replaces_link {
                self.newest = self.newest.max(mtime);
                self.nodes.insert(
                    path,
                    Node {
                        kind,
                        mode,
                        uid,
                        gid,
                        mtime,
                    },
                );
            }
        }
        Ok(listed)
    }

    /// Writes the tree as one tar.
    pub(crate) fn write_tar(&self, output: impl Write) -> Result<()> {
        let mut builder = tar::Builder::new(output);
        let mut written: HashMap<*const Vec<u8>, &[u8]> = HashMap::new();
        // By components: "a", "a/b", "a.b". GNU tar restores a folder's time when it leaves the folder.
        let mut ordered: Vec<_> = self.nodes.iter().collect();
        ordered.sort_by(|(one, _), (other, _)| components(one).cmp(components(other)));
        for (path, node) in ordered {
            let mut header = tar::Header::new_gnu();
            header.set_mode(node.mode);
            header.set_uid(node.uid);
            header.set_gid(node.gid);
            header.set_mtime(node.mtime);
            header.set_size(0);
            let name = Path::new(OsStr::from_bytes(path));
            match &node.kind {
                Kind::Directory => {
                    header.set_entry_type(tar::EntryType::Directory);
                    let name = if path.is_empty() {
                        Path::new("./")
                    } else {
                        name
                    };
                    builder.append_data(&mut header, name, std::io::empty())?;
                }
                Kind::Symlink(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    builder.append_link(&mut header, name, OsStr::from_bytes(target))?;
                }
                Kind::File(content) => match written.get(&Rc::as_ptr(content)) {
                    Some(first) => {
                        header.set_entry_type(tar::EntryType::Link);
                        builder.append_link(&mut header, name, OsStr::from_bytes(first))?;
                    }
                    None => {
                        written.insert(Rc::as_ptr(content), path);
                        header.set_size(content.len() as u64);
                        builder.append_data(&mut header, name, content.as_slice())?;
                    }
                },
            }
        }
        builder.into_inner()?.flush()?;
        Ok(())
    }
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
}

/// Strips `./`, `/` and a trailing slash.
fn normal(path: &[u8]) -> Vec<u8> {
    let parts = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".");
    parts.collect::<Vec<_>>().join(&b'/')
}

/// Moves a path below a merged folder into `usr/`.
fn merged_usr(path: Vec<u8>) -> Vec<u8> {
    let top = path.split(|byte| *byte == b'/').next().unwrap_or_default();
    if MERGED_USR.iter().any(|folder| folder.as_bytes() == top) {
        return [b"usr/", path.as_slice()].concat();
    }
    path
}
