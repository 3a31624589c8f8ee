//! The 512-byte header block: ustar, with GNU's base-256 numbers and old sparse map.
//!
//! Offsets are those of POSIX.1-1988 (`pax(1)`, "ustar Interchange Format") and of GNU tar's
//! `struct oldgnu_header` (GNU tar manual, "Basic Tar Format").

use super::sparse::{self, Extent};
use super::{BLOCK_BYTES, Entry, EntryKind, TarError, Timestamp, until_nul};

const NAME: std::ops::Range<usize> = 0..100;
const MODE: std::ops::Range<usize> = 100..108;
const UID: std::ops::Range<usize> = 108..116;
const GID: std::ops::Range<usize> = 116..124;
const SIZE: std::ops::Range<usize> = 124..136;
const MTIME: std::ops::Range<usize> = 136..148;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const TYPE_FLAG: usize = 156;
const LINK_NAME: std::ops::Range<usize> = 157..257;
const MAGIC: std::ops::Range<usize> = 257..263;
const DEVICE_MAJOR: std::ops::Range<usize> = 329..337;
const DEVICE_MINOR: std::ops::Range<usize> = 337..345;
const PREFIX: std::ops::Range<usize> = 345..500;
const GNU_SPARSE_MAP: std::ops::Range<usize> = 386..482;
const GNU_IS_EXTENDED: usize = 482;
const GNU_REAL_SIZE: std::ops::Range<usize> = 483..495;

/// Magic of POSIX; GNU writes `ustar` and two spaces, and has no prefix field.
const POSIX_MAGIC: &[u8] = b"ustar\0";

/// High bit of a number's first byte: the rest is big-endian binary (a GNU extension).
const BASE_256: u8 = 0x80;

/// Set-id, sticky and permission bits.
const MODE_BITS: u64 = 0o7777;

/// A header whose checksum is right.
#[derive(Debug)]
pub(crate) struct Header {
    block: [u8; BLOCK_BYTES],
    offset: u64,
}

impl Header {
    /// Checks the checksum; `offset` is only for messages.
    pub(crate) fn parse(block: [u8; BLOCK_BYTES], offset: u64) -> Result<Self, TarError> {
        let header = Self { block, offset };
        if !header.checksum_matches() {
            return Err(TarError::Checksum { offset });
        }
        Ok(header)
    }

    /// Whether `block` could begin a tar.
    pub(crate) fn is_header(block: &[u8; BLOCK_BYTES]) -> bool {
        Self {
            block: *block,
            offset: 0,
        }
        .checksum_matches()
    }

    /// The sum of all bytes with the checksum field as spaces, signed or unsigned: old tars differ.
    fn checksum_matches(&self) -> bool {
        let bytes = || {
            self.block
                .iter()
                .enumerate()
                .filter(|(at, _)| !CHECKSUM.contains(at))
        };
        let spaces = 8 * u64::from(b' ');
        let unsigned: u64 = bytes().map(|(_, byte)| u64::from(*byte)).sum::<u64>() + spaces;
        let signed: i64 = bytes().map(|(_, byte)| i64::from(byte.cast_signed())).sum();
        let Ok(stored) = self.number(CHECKSUM, "checksum") else {
            return false;
        };
        stored == unsigned || i64::try_from(stored) == Ok(signed + spaces.cast_signed())
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.block[TYPE_FLAG]
    }

    pub(super) fn size(&self) -> Result<u64, TarError> {
        self.number(SIZE, "size")
    }

    /// What the header alone says; sizes and extensions are the reader's to apply.
    pub(super) fn entry(&self) -> Result<Entry, TarError> {
        let path = self.path();
        let kind = self.kind(&path);
        let mode = self.number(MODE, "mode")? & MODE_BITS;
        let device = matches!(kind, EntryKind::CharacterDevice | EntryKind::BlockDevice);
        let device_number = |range| {
            if device {
                self.number(range, "device number")
            } else {
                Ok(0)
            }
        };
        Ok(Entry {
            kind,
            path,
            link: until_nul(self.block[LINK_NAME].to_vec()),
            mode: u16::try_from(mode).map_err(|_| self.invalid("mode"))?,
            uid: self.small(self.number(UID, "uid")?, "uid")?,
            gid: self.small(self.number(GID, "gid")?, "gid")?,
            mtime: Timestamp {
                seconds: self.signed(MTIME, "mtime")?,
                nanoseconds: 0,
            },
            size: 0,
            device: (
                self.small(device_number(DEVICE_MAJOR)?, "device number")?,
                self.small(device_number(DEVICE_MINOR)?, "device number")?,
            ),
            xattrs: Vec::new(),
            sparse: None,
        })
    }

    fn kind(&self, path: &[u8]) -> EntryKind {
        match self.type_flag() {
            // Archives older than POSIX mark a folder by its name.
            0 | b'0' if path.ends_with(b"/") => EntryKind::Directory,
            0 | b'0' | b'7' | b'S' => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::Symlink,
            b'3' => EntryKind::CharacterDevice,
            b'4' => EntryKind::BlockDevice,
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            _ => EntryKind::Other,
        }
    }

    fn path(&self) -> Vec<u8> {
        let name = until_nul(self.block[NAME].to_vec());
        if self.block[MAGIC] != *POSIX_MAGIC || self.block[PREFIX.start] == 0 {
            return name;
        }
        let mut path = until_nul(self.block[PREFIX].to_vec());
        path.push(b'/');
        path.extend_from_slice(&name);
        path
    }

    pub(super) fn is_gnu_sparse(&self) -> bool {
        self.type_flag() == b'S'
    }

    /// The map in the header, and whether extension blocks follow.
    pub(super) fn sparse_map(&self) -> Result<(Vec<Extent>, bool), TarError> {
        let mut map = Vec::new();
        sparse::parse_old_gnu(&self.block[GNU_SPARSE_MAP], &mut map)?;
        Ok((map, self.block[GNU_IS_EXTENDED] != 0))
    }

    pub(super) fn sparse_size(&self) -> Result<u64, TarError> {
        self.number(GNU_REAL_SIZE, "sparse file size")
    }

    fn number(&self, range: std::ops::Range<usize>, field: &'static str) -> Result<u64, TarError> {
        parse_number(&self.block[range]).ok_or_else(|| self.invalid(field))
    }

    /// A number that may be negative when it is in base 256.
    fn signed(&self, range: std::ops::Range<usize>, field: &'static str) -> Result<i64, TarError> {
        let bytes = &self.block[range.clone()];
        if bytes[0] == u8::MAX {
            let low = bytes
                .last_chunk::<8>()
                .expect("numeric fields have eight bytes or more");
            return Ok(i64::from_be_bytes(*low));
        }
        i64::try_from(self.number(range, field)?).map_err(|_| self.invalid(field))
    }

    fn small(&self, value: u64, field: &'static str) -> Result<u32, TarError> {
        u32::try_from(value).map_err(|_| self.invalid(field))
    }

    fn invalid(&self, field: &'static str) -> TarError {
        TarError::Field {
            field,
            offset: self.offset,
        }
    }
}

/// Octal digits between optional blanks, or base 256. An empty field is zero.
pub(super) fn parse_number(field: &[u8]) -> Option<u64> {
    if field[0] & BASE_256 != 0 {
        let first = u64::from(field[0] & !BASE_256);
        return field[1..].iter().try_fold(first, |value, byte| {
            value.checked_mul(256)?.checked_add(u64::from(*byte))
        });
    }
    let digits = field.iter().skip_while(|byte| **byte == b' ');
    let digits = digits.take_while(|byte| **byte != 0 && **byte != b' ');
    digits.copied().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}
