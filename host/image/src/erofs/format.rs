//! The EROFS on-disk structures and constants that the writer uses.
//!
//! Facts from Linux, `Documentation/filesystems/erofs.rst` and `fs/erofs/erofs_fs.h` (6.12). All
//! numbers are little-endian. The metadata address is zero here, so a node number is an inode's
//! byte offset in the image divided by [`SLOT_BYTES`], and inodes may lie anywhere.

/// Block size, the only one all kernels on 4 KiB pages can mount.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// [`BLOCK_BYTES`] for 64-bit sums.
pub(crate) const BLOCK_BYTES_U64: u64 = BLOCK_BYTES as u64;

/// Base-two logarithm of the block size.
pub(super) const BLOCK_BITS: u8 = 12;

/// Unit of node numbers.
pub(super) const SLOT_BYTES: u64 = 32;

/// Where the superblock lies.
pub(super) const SUPER_OFFSET: usize = 1024;

/// `EROFS_SUPER_MAGIC_V1`.
const SUPER_MAGIC: u32 = 0xE0F5_E1E2;

/// Compatible feature: the superblock has a checksum.
const FEATURE_COMPAT_CHECKSUM: u32 = 0x1;

/// Compatible feature: the time in an inode is its modification time.
const FEATURE_COMPAT_MTIME: u32 = 0x2;

/// Incompatible feature: chunk-based files are present.
const FEATURE_INCOMPAT_CHUNKED_FILE: u32 = 0x4;

/// Bytes of a 64-byte (extended) inode, the only kind written: it has a time of its own.
pub(super) const INODE_BYTES: usize = 64;

/// Where the link count lies in an extended inode.
pub(super) const INODE_LINKS_OFFSET: u64 = 44;

/// `i_format` bit 0: extended inode.
const FORMAT_EXTENDED: u16 = 1;

/// `i_format` bits 1 to 3: data layout.
const FORMAT_LAYOUT_SHIFT: u32 = 1;

/// A block address that means "a hole".
pub(super) const NULL_ADDRESS: u32 = u32::MAX;

/// Bytes of a directory entry before the names.
pub(super) const DIRENT_BYTES: usize = 12;

/// `erofs_xattr_ibody_header`.
pub(super) const XATTR_HEADER_BYTES: usize = 12;

/// Unit of attribute entries and ids.
pub(super) const XATTR_ALIGNMENT: usize = 4;

/// The types a tar can hold (it has no sockets): file type bits of `st_mode` (POSIX `sys/stat.h` as Linux has it), and the `FT_*` byte of a
/// directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileType {
    Regular,
    Directory,
    CharacterDevice,
    BlockDevice,
    Fifo,
    Symlink,
}

impl FileType {
    /// The `S_IFMT` part of a mode.
    pub(super) fn mode_bits(self) -> u16 {
        match self {
            Self::Fifo => 0o010_000,
            Self::CharacterDevice => 0o020_000,
            Self::Directory => 0o040_000,
            Self::BlockDevice => 0o060_000,
            Self::Regular => 0o100_000,
            Self::Symlink => 0o120_000,
        }
    }

    /// The type byte of a directory entry.
    pub(super) fn dirent_byte(self) -> u8 {
        match self {
            Self::Regular => 1,
            Self::Directory => 2,
            Self::CharacterDevice => 3,
            Self::BlockDevice => 4,
            Self::Fifo => 5,
            Self::Symlink => 7,
        }
    }
}

/// Where an inode's content is: `i_format`'s layout and the union `i_u`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Whole blocks from this address.
    Plain(u32),
    /// Whole blocks from this address, the rest after the inode.
    Inline(u32),
    /// A block address per chunk of `4096 << bits`, after the inode.
    Chunks { bits: u8 },
    /// A device number.
    Device(u32),
}

/// What one inode says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inode {
    pub(super) file_type: FileType,
    pub(super) mode: u16,
    pub(super) size: u64,
    pub(super) content: Content,
    pub(super) number: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime_seconds: i64,
    pub(super) mtime_nanoseconds: u32,
    pub(super) links: u32,
    /// Bytes of the attributes after the inode.
    pub(super) xattr_bytes: usize,
}

impl Inode {
    /// The 64 bytes of `erofs_inode_extended`.
    pub(super) fn encode(&self) -> [u8; INODE_BYTES] {
        let (layout, union) = match self.content {
            Content::Plain(address) => (0_u16, address),
            Content::Inline(address) => (2, address),
            Content::Chunks { bits } => (4, u32::from(bits)),
            Content::Device(number) => (0, number),
        };
        let mut bytes = Vec::with_capacity(INODE_BYTES);
        bytes.extend((FORMAT_EXTENDED | layout << FORMAT_LAYOUT_SHIFT).to_le_bytes());
        bytes.extend(xattr_count(self.xattr_bytes).to_le_bytes());
        bytes.extend((self.file_type.mode_bits() | self.mode).to_le_bytes());
        bytes.extend(0_u16.to_le_bytes());
        bytes.extend(self.size.to_le_bytes());
        bytes.extend(union.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.uid.to_le_bytes());
        bytes.extend(self.gid.to_le_bytes());
        bytes.extend(self.mtime_seconds.to_le_bytes());
        bytes.extend(self.mtime_nanoseconds.to_le_bytes());
        bytes.extend(self.links.to_le_bytes());
        bytes.resize(INODE_BYTES, 0);
        bytes.try_into().expect("the fields above have 48 bytes")
    }
}

/// `i_xattr_icount`: one for the header, one for each four bytes after it, zero for none.
fn xattr_count(bytes: usize) -> u16 {
    if bytes == 0 {
        return 0;
    }
    let words = (bytes - XATTR_HEADER_BYTES) / XATTR_ALIGNMENT + 1;
    u16::try_from(words).expect("the attribute budget of an inode is below a block")
}

/// Linux's `new_encode_dev`: twelve bits of major, twenty of minor.
pub(super) fn encode_device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12
}

/// What the superblock says.
#[derive(Debug)]
pub(super) struct Superblock {
    pub(super) root_node: u16,
    pub(super) inodes: u64,
    pub(super) blocks: u32,
    pub(super) xattr_address: u32,
    pub(super) uuid: [u8; 16],
    pub(super) chunked_files: bool,
}

impl Superblock {
    /// Writes `erofs_super_block` into the first block and seals it with the checksum, which covers
    /// everything from the superblock to the end of the block.
    pub(super) fn encode_into(&self, block: &mut [u8; BLOCK_BYTES]) {
        let incompatible = if self.chunked_files {
            FEATURE_INCOMPAT_CHUNKED_FILE
        } else {
            0
        };
        let mut bytes = Vec::with_capacity(128);
        bytes.extend(SUPER_MAGIC.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes()); // checksum, below
        bytes.extend((FEATURE_COMPAT_CHECKSUM | FEATURE_COMPAT_MTIME).to_le_bytes());
        bytes.extend([BLOCK_BITS, 0]); // no extension slots
        bytes.extend(self.root_node.to_le_bytes());
        bytes.extend(self.inodes.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes()); // build time: every inode has its own time
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(self.blocks.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes()); // metadata address
        bytes.extend(self.xattr_address.to_le_bytes());
        bytes.extend(self.uuid);
        bytes.extend([0; 16]); // volume name
        bytes.extend(incompatible.to_le_bytes());
        block[SUPER_OFFSET..SUPER_OFFSET + bytes.len()].copy_from_slice(&bytes);
        let checksum = crc32c(&block[SUPER_OFFSET..]);
        block[SUPER_OFFSET + 4..SUPER_OFFSET + 8].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// CRC-32C (Castagnoli, reflected), starting from all ones and not inverted at the end, as the
/// kernel's `crc32c(~0, …)` gives it.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ POLYNOMIAL
            } else {
                crc >> 1
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_castagnoli_without_the_last_inversion() {
        // The check value of CRC-32C in RFC 3720, appendix B.4's algorithm, is 0xE3069283.
        assert_eq!(!crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn device_numbers_are_encoded_as_linux_does() {
        assert_eq!(encode_device(1, 3), 0x0103);
        assert_eq!(encode_device(0xabc, 0xd_ef12), 0xdefa_bc12);
    }
}
