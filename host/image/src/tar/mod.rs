//! A streaming tar reader for archives nobody vouched for.
//!
//! It reads ustar, GNU and PAX: long names, 64-bit sizes, extended attributes, and the four ways a
//! sparse file is written. [`TarReader::next_entry`] returns one entry; its stored bytes are then
//! read through [`TarReader::data`], and what is left of them is skipped by the next call. Nothing
//! read from a header is trusted: every allocation it leads to has a bound in this module.
//!
//! Why not the `tar` crate: it splits PAX records at newlines, which breaks binary attribute values
//! (a capability or an ACL may hold the byte 0x0a), keeps headers of any size in memory, and does not
//! read PAX sparse files.

mod header;
mod pax;
mod sparse;

use std::io::{self, BufRead, Read};

pub(crate) use header::Header;
pub(crate) use pax::PaxRecords;
pub(crate) use sparse::Extent;

/// The unit of a tar.
pub(crate) const BLOCK_BYTES: usize = 512;

/// [`BLOCK_BYTES`] for 64-bit sums.
const BLOCK_BYTES_U64: u64 = BLOCK_BYTES as u64;

/// Most bytes of one PAX header or GNU long name; one attribute value may have 64 KiB, and a header
/// with more would only be there to fill our memory.
const MAX_EXTENSION_BYTES: u64 = 8 << 20;

/// Largest file in an archive: what ext4 and a 32-bit block number can hold (16 TiB).
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 44;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    HardLink,
    Symlink,
    CharacterDevice,
    BlockDevice,
    Directory,
    Fifo,
    /// A kind that carries no file (a volume label, say); readers skip it.
    Other,
}

/// One entry, extensions applied.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) kind: EntryKind,
    /// As stored: may be absolute, may climb.
    pub(crate) path: Vec<u8>,
    /// Target of a symbolic or hard link.
    pub(crate) link: Vec<u8>,
    /// Permission bits with set-id and sticky.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Timestamp,
    /// Size of the file once unpacked.
    pub(crate) size: u64,
    pub(crate) device: (u32, u32),
    /// Names with their prefix, values as bytes.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the stored bytes go, if the file is sparse.
    pub(crate) sparse: Option<Vec<Extent>>,
}

/// Seconds since 1970 and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Timestamp {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// Reading failed.
    #[error("failed to read the archive")]
    Read(#[source] io::Error),
    /// It ends in the middle of something.
    #[error("the archive is truncated")]
    Truncated,
    /// A header is damaged.
    #[error("invalid tar header (the checksum is wrong) at offset {offset}")]
    Checksum {
        /// Which or how much.
        offset: u64,
    },
    /// A header field is not what it should be.
    #[error("invalid {field} in a tar header at offset {offset}")]
    Field {
        /// Which field.
        field: &'static str,
        /// At which byte of the archive.
        offset: u64,
    },
    /// An extension header would fill our memory.
    #[error("an extension header of {size} bytes exceeds the limit of {MAX_EXTENSION_BYTES}")]
    ExtensionTooLarge {
        /// Which or how much.
        size: u64,
    },
    /// A PAX header is damaged.
    #[error("invalid PAX header")]
    Pax,
    /// A sparse file map is damaged.
    #[error("invalid sparse file map")]
    Sparse,
    /// A file no file system could hold.
    #[error("a file of {size} bytes exceeds the limit of {MAX_FILE_BYTES}")]
    FileTooLarge {
        /// Which or how much.
        size: u64,
    },
}

impl From<io::Error> for TarError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::Truncated
        } else {
            Self::Read(error)
        }
    }
}

/// Reads entries one after the other.
#[derive(Debug)]
pub(crate) struct TarReader<R> {
    input: R,
    /// Bytes read so far, for messages.
    offset: u64,
    /// Stored bytes of the current entry not read yet.
    remaining: u64,
    /// Zeros that fill the current entry's last block.
    padding: u64,
    /// PAX records that hold until replaced.
    global: PaxRecords,
}

/// Names and records that precede the entry they describe.
#[derive(Debug, Default)]
struct Extensions {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    records: PaxRecords,
}

impl<R: BufRead> TarReader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            offset: 0,
            remaining: 0,
            padding: 0,
            global: PaxRecords::default(),
        }
    }

    /// The reader below, after the last entry.
    pub(crate) fn into_inner(self) -> R {
        self.input
    }

    /// The reader below, between or within entries.
    pub(crate) fn input_mut(&mut self) -> &mut R {
        &mut self.input
    }

    /// The next entry, or `None` at the end marker or the end of the input.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_rest()?;
            let start = self.offset;
            let Some(block) = self.read_header_block()? else {
                return Ok(None);
            };
            let header = Header::parse(block, start)?;
            let size = header.size()?;
            match header.type_flag() {
                b'L' => extensions.long_name = Some(until_nul(self.read_extension(size)?)),
                b'K' => extensions.long_link = Some(until_nul(self.read_extension(size)?)),
                b'x' => extensions.records = PaxRecords::parse(&self.read_extension(size)?)?,
                b'g' => {
                    let records = PaxRecords::parse(&self.read_extension(size)?)?;
                    self.global.update(records);
                }
                _ => return self.finish_entry(&header, extensions).map(Some),
            }
        }
    }

    /// The stored bytes of the current entry.
    pub(crate) fn data(&mut self) -> EntryData<'_, R> {
        EntryData { reader: self }
    }

    /// Applies extensions and, for a sparse file, reads its map.
    fn finish_entry(&mut self, header: &Header, extensions: Extensions) -> Result<Entry, TarError> {
        let records = self.global.merged_with(extensions.records);
        let stored = records.size()?.map_or_else(|| header.size(), Ok)?;
        let mut entry = header.entry()?;
        if let Some(name) = extensions.long_name {
            entry.path = name;
        }
        if let Some(link) = extensions.long_link {
            entry.link = link;
        }
        records.apply(&mut entry)?;
        // Only files have data; a size in any other header is a leftover that readers ignore.
        let has_data = matches!(entry.kind, EntryKind::File | EntryKind::Other);
        self.begin_data(if has_data { stored } else { 0 })?;
        entry.size = stored;
        if entry.kind == EntryKind::File {
            self.read_sparse_map(header, &records, &mut entry)?;
        }
        if entry.size > MAX_FILE_BYTES {
            return Err(TarError::FileTooLarge { size: entry.size });
        }
        Ok(entry)
    }

    fn read_sparse_map(
        &mut self,
        header: &Header,
        records: &PaxRecords,
        entry: &mut Entry,
    ) -> Result<(), TarError> {
        let (map, size) = if header.is_gnu_sparse() {
            let (mut map, mut more) = header.sparse_map()?;
            while more {
                let Some(block) = self.read_block()? else {
                    return Err(TarError::Truncated);
                };
                more = sparse::parse_extension_block(&block, &mut map)?;
            }
            (map, header.sparse_size()?)
        } else if let Some(size) = records.sparse_size()? {
            let map = if records.sparse_map_precedes_data() {
                sparse::read_map(&mut self.data())?
            } else {
                records.sparse_map()?
            };
            (map, size)
        } else {
            return Ok(());
        };
        sparse::check(&map, size, self.remaining)?;
        entry.size = size;
        entry.sparse = Some(map);
        Ok(())
    }

    fn begin_data(&mut self, size: u64) -> Result<(), TarError> {
        if size > MAX_FILE_BYTES {
            return Err(TarError::FileTooLarge { size });
        }
        self.remaining = size;
        self.padding = size.next_multiple_of(BLOCK_BYTES_U64) - size;
        Ok(())
    }

    fn read_extension(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > MAX_EXTENSION_BYTES {
            return Err(TarError::ExtensionTooLarge { size });
        }
        self.begin_data(size)?;
        let mut content = Vec::new();
        self.data().read_to_end(&mut content)?;
        Ok(content)
    }

    fn skip_rest(&mut self) -> Result<(), TarError> {
        while self.remaining > 0 {
            let mut data = self.data();
            let available = data.fill_buf()?.len();
            data.consume(available);
        }
        let mut block = [0; BLOCK_BYTES];
        let padding = usize::try_from(self.padding).expect("padding is below one block");
        self.input.read_exact(&mut block[..padding])?;
        self.offset += self.padding;
        self.padding = 0;
        Ok(())
    }

    /// The next header, or `None` at a block of zeros or at the end of the input. One block of zeros
    /// ends an archive although two are due, as GNU tar has it.
    fn read_header_block(&mut self) -> Result<Option<[u8; BLOCK_BYTES]>, TarError> {
        Ok(self
            .read_block()?
            .filter(|block| block.iter().any(|byte| *byte != 0)))
    }

    fn read_block(&mut self) -> Result<Option<[u8; BLOCK_BYTES]>, TarError> {
        let mut block = [0; BLOCK_BYTES];
        if self.input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        self.input.read_exact(&mut block)?;
        self.offset += BLOCK_BYTES_U64;
        Ok(Some(block))
    }
}

/// Reads the stored bytes of one entry; the end of the archive before theirs is an error.
#[derive(Debug)]
pub(crate) struct EntryData<'a, R> {
    reader: &'a mut TarReader<R>,
}

impl<R: BufRead> Read for EntryData<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.reader.remaining == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let limit = usize::try_from(self.reader.remaining)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = self.reader.input.read(&mut buffer[..limit])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.reader.remaining -= count as u64;
        self.reader.offset += count as u64;
        Ok(count)
    }
}

impl<R: BufRead> BufRead for EntryData<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.reader.remaining == 0 {
            return Ok(&[]);
        }
        let limit = usize::try_from(self.reader.remaining).unwrap_or(usize::MAX);
        let available = self.reader.input.fill_buf()?;
        if available.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(&available[..available.len().min(limit)])
    }

    fn consume(&mut self, count: usize) {
        self.reader.input.consume(count);
        self.reader.remaining -= count as u64;
        self.reader.offset += count as u64;
    }
}

/// A C string in a buffer that may lack its NUL.
fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

#[cfg(test)]
mod tests;
