//! Extended attributes: encoded after the inode, or once in an area that inodes share.
//!
//! An attribute seen for the first time goes inline, which needs no further block to read it; the
//! second time the same name and value are met they go to the shared area, and four bytes point
//! there. Large ones go there at once, so that an inode always fits into a block.

use std::collections::HashMap;

use super::format::{XATTR_ALIGNMENT, XATTR_HEADER_BYTES};

/// Most attributes of one inode, so that their ids always fit behind the root inode.
const MAX_XATTRS: usize = 128;

/// Longest value: `e_value_size` has 16 bits; Linux itself takes 64 KiB (`XATTR_SIZE_MAX`).
const MAX_VALUE_BYTES: usize = u16::MAX as usize;

/// Longest name without its prefix, `e_name_len`.
const MAX_NAME_BYTES: usize = u8::MAX as usize;

/// Attributes inline in one inode, at most.
const INLINE_BUDGET_BYTES: usize = 1024;

/// Larger entries are shared from the first time on.
const INLINE_ENTRY_BYTES: usize = 256;

/// All distinct attributes of a layer: they are kept in memory to be found again.
const MAX_TABLE_BYTES: usize = 64 << 20;

/// Attributes that only our own translation of whiteouts may set: a layer could redirect a folder or
/// hide another layer's files with them.
const RESERVED_PREFIX: &[u8] = b"trusted.overlay.";

/// Prefixes and their `e_name_index`; the two ACL names are whole.
const PREFIXES: [(&[u8], u8); 5] = [
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
];

/// The attribute that makes overlayfs hide what lower layers have in a folder.
pub(super) const OPAQUE: (&[u8], &[u8]) = (b"trusted.overlay.opaque", b"y");

/// Why attributes cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum XattrError {
    /// More than one inode can have.
    #[error("an inode has more than {MAX_XATTRS} attributes")]
    TooMany,
    /// A name or value too long.
    #[error("the attribute {name:?} is longer than its format allows")]
    TooLong {
        /// Which or how much.
        name: String,
    },
    /// More than is kept in memory.
    #[error("the attributes of the layer exceed {MAX_TABLE_BYTES} bytes")]
    TableFull,
}

/// Where an attribute was put when it was met first.
#[derive(Debug, Clone, Copy)]
enum Seen {
    Inline,
    Shared(u32),
}

/// All attributes met so far.
#[derive(Debug, Default)]
pub(super) struct XattrTable {
    seen: HashMap<Vec<u8>, Seen>,
    seen_bytes: usize,
    shared: Vec<u8>,
}

impl XattrTable {
    /// The bytes that follow an inode; empty for no attribute. Names without a known prefix cannot be
    /// stored and are left out, as an extraction to most file systems would; reserved ones likewise.
    pub(super) fn encode(
        &mut self,
        xattrs: &[(Vec<u8>, Vec<u8>)],
        opaque: bool,
    ) -> Result<Vec<u8>, XattrError> {
        let allowed = xattrs
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()));
        let allowed = allowed.filter(|(name, _)| !name.starts_with(RESERVED_PREFIX));
        let (mut ids, mut inline) = (Vec::new(), Vec::new());
        let mut count = 0;
        for (name, value) in allowed.chain(opaque.then_some(OPAQUE)) {
            let Some(entry) = encode_entry(name, value)? else {
                tracing::debug!(name = %String::from_utf8_lossy(name), "attribute left out");
                continue;
            };
            count += 1;
            if count > MAX_XATTRS {
                return Err(XattrError::TooMany);
            }
            let room = INLINE_BUDGET_BYTES - inline.len();
            match self.intern(&entry, room)? {
                Seen::Shared(id) => ids.extend(id.to_le_bytes()),
                Seen::Inline => inline.extend(entry),
            }
        }
        if ids.is_empty() && inline.is_empty() {
            return Ok(Vec::new());
        }
        let mut body = vec![0; XATTR_HEADER_BYTES];
        body[4] = u8::try_from(ids.len() / XATTR_ALIGNMENT).expect("at most MAX_XATTRS ids");
        body.extend(ids);
        body.extend(inline);
        Ok(body)
    }

    /// Decides where an entry goes.
    fn intern(&mut self, entry: &[u8], inline_room: usize) -> Result<Seen, XattrError> {
        if let Some(Seen::Shared(id)) = self.seen.get(entry) {
            return Ok(Seen::Shared(*id));
        }
        let known = self.seen.contains_key(entry);
        let inline = !known && entry.len() <= INLINE_ENTRY_BYTES.min(inline_room);
        let seen = if inline {
            Seen::Inline
        } else {
            let id = self.shared.len() / XATTR_ALIGNMENT;
            self.shared.extend_from_slice(entry);
            Seen::Shared(u32::try_from(id).expect("the table is bounded"))
        };
        self.seen_bytes += entry.len();
        if self.seen_bytes > MAX_TABLE_BYTES {
            return Err(XattrError::TableFull);
        }
        self.seen.insert(entry.to_vec(), seen);
        Ok(seen)
    }

    /// The shared area, to be written at a block of its own.
    pub(super) fn shared(&self) -> &[u8] {
        &self.shared
    }
}

/// `erofs_xattr_entry` with name and value, padded; `None` if the prefix has no index.
fn encode_entry(name: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, XattrError> {
    let known = PREFIXES.iter().find_map(|(prefix, index)| {
        let rest = name.strip_prefix(*prefix)?;
        // A prefix needs a name after it; a whole ACL name must have none.
        (prefix.ends_with(b".") != rest.is_empty()).then_some((rest, *index))
    });
    let Some((rest, index)) = known else {
        return Ok(None);
    };
    if rest.len() > MAX_NAME_BYTES || value.len() > MAX_VALUE_BYTES {
        return Err(XattrError::TooLong {
            name: String::from_utf8_lossy(name).into_owned(),
        });
    }
    let mut entry = vec![u8::try_from(rest.len()).expect("checked above"), index];
    entry.extend(
        u16::try_from(value.len())
            .expect("checked above")
            .to_le_bytes(),
    );
    entry.extend_from_slice(rest);
    entry.extend_from_slice(value);
    entry.resize(entry.len().next_multiple_of(XATTR_ALIGNMENT), 0);
    Ok(Some(entry))
}
