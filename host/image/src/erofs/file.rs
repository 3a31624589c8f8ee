//! Writes the data of one regular file as it arrives.
//!
//! Whole blocks go straight to the output. The rest of the last block, the tail, is kept and later put
//! behind the inode. A large file is also cut into chunks, and a chunk without a single non-zero byte
//! is not written: if there was one, the inode lists the chunks, else it names its first block. So an
//! 8 GiB file of zeros costs a few kilobytes, whether the archive said that it is sparse or not.

use super::batch::Location;
use super::format::{BLOCK_BITS, BLOCK_BYTES_U64, Content, INODE_BYTES, NULL_ADDRESS};
use super::output::is_zero;
use super::writer::Writer;
use super::{Attributes, ErofsError, FileType};

/// Smallest chunk, as a power of two of blocks (64 KiB): a list entry costs four bytes, and the kernel
/// maps a file chunk by chunk.
const MIN_CHUNK_BITS: u8 = 4;

/// Smallest file that is searched for holes: two chunks.
const SCAN_MINIMUM_BYTES: u64 = 128 << 10;

/// Most chunks of a file; chunks grow with it, so that the list stays below 256 KiB.
const MAX_CHUNKS: u64 = 1 << 16;

/// The chunk that is being written.
#[derive(Debug, Clone, Copy)]
enum Chunk {
    /// Nothing but this many zeros so far, not written.
    Zeros(u64),
    /// Being written.
    Data,
}

/// Takes the data of one file.
#[derive(Debug)]
pub(crate) struct FileWriter<'a> {
    writer: &'a mut Writer,
    size: u64,
    /// Where the tail begins.
    body_end: u64,
    position: u64,
    first_block: u32,
    tail: Vec<u8>,
    /// Chunk size as a power of two of blocks, if the file is searched for holes.
    chunk_bits: Option<u8>,
    chunk: Chunk,
    chunks: Vec<u32>,
}

impl<'a> FileWriter<'a> {
    pub(super) fn new(writer: &'a mut Writer, size: u64) -> Result<Self, ErofsError> {
        let first_block = writer.output.block()?;
        let chunk_bits = (size >= SCAN_MINIMUM_BYTES).then(|| {
            let fits = |bits: &u8| size.div_ceil(BLOCK_BYTES_U64 << bits) <= MAX_CHUNKS;
            (MIN_CHUNK_BITS..)
                .find(fits)
                .expect("a chunk grows beyond any size")
        });
        Ok(Self {
            writer,
            size,
            body_end: size - size % BLOCK_BYTES_U64,
            position: 0,
            first_block,
            tail: Vec::new(),
            chunk_bits,
            chunk: Chunk::Zeros(0),
            chunks: Vec::new(),
        })
    }

    /// Takes the next bytes.
    pub(crate) fn data(&mut self, bytes: &[u8]) -> Result<(), ErofsError> {
        let body = usize::try_from(self.body_end.saturating_sub(self.position));
        let (body, tail) = bytes.split_at(body.unwrap_or(usize::MAX).min(bytes.len()));
        self.body(body)?;
        self.position += tail.len() as u64;
        self.tail.extend_from_slice(tail);
        debug_assert!(
            self.position <= self.size,
            "a file got more data than it has"
        );
        Ok(())
    }

    /// Takes a run of zeros, in time independent of its length but for the chunk list.
    pub(crate) fn zeros(&mut self, mut count: u64) -> Result<(), ErofsError> {
        while count > 0 && self.position < self.body_end {
            let part = count.min(self.rest_of_chunk());
            match (self.chunk_bits, self.chunk) {
                (Some(_), Chunk::Zeros(before)) => self.chunk = Chunk::Zeros(before + part),
                _ => self.writer.output.zeros(part)?,
            }
            self.advance(part);
            count -= part;
        }
        self.position += count;
        let tail = usize::try_from(count).expect("a tail is shorter than a block");
        self.tail.resize(self.tail.len() + tail, 0);
        Ok(())
    }

    fn body(&mut self, mut bytes: &[u8]) -> Result<(), ErofsError> {
        if self.chunk_bits.is_none() {
            self.writer.output.write(bytes)?;
            self.position += bytes.len() as u64;
            return Ok(());
        }
        while !bytes.is_empty() {
            let room = usize::try_from(self.rest_of_chunk()).unwrap_or(usize::MAX);
            let (part, rest) = bytes.split_at(room.min(bytes.len()));
            match self.chunk {
                Chunk::Zeros(before) if is_zero(part) => {
                    self.chunk = Chunk::Zeros(before + part.len() as u64);
                }
                Chunk::Zeros(before) => {
                    self.begin_chunk(before)?;
                    self.writer.output.write(part)?;
                }
                Chunk::Data => self.writer.output.write(part)?,
            }
            self.advance(part.len() as u64);
            bytes = rest;
        }
        Ok(())
    }

    /// Bytes until the chunk or the body ends.
    fn rest_of_chunk(&self) -> u64 {
        let body = self.body_end - self.position;
        let Some(bits) = self.chunk_bits else {
            return body;
        };
        let chunk = BLOCK_BYTES_U64 << bits;
        body.min(chunk - self.position % chunk)
    }

    fn advance(&mut self, count: u64) {
        self.position += count;
        let Some(bits) = self.chunk_bits else { return };
        if self.position.is_multiple_of(BLOCK_BYTES_U64 << bits) {
            if let Chunk::Zeros(_) = self.chunk {
                self.chunks.push(NULL_ADDRESS);
            }
            self.chunk = Chunk::Zeros(0);
        }
    }

    /// Turns a chunk of zeros into one that is written.
    fn begin_chunk(&mut self, zeros: u64) -> Result<(), ErofsError> {
        self.chunks.push(self.writer.output.block()?);
        self.chunk = Chunk::Data;
        self.writer.output.zeros(zeros)?;
        Ok(())
    }

    /// Writes the inode.
    pub(crate) fn finish(mut self, attributes: &Attributes) -> Result<Location, ErofsError> {
        debug_assert_eq!(self.position, self.size, "a file got less data than it has");
        let last_is_hole = matches!(self.chunk, Chunk::Zeros(1..)) && is_zero(&self.tail);
        if let Some(bits) = self.chunk_bits
            && (last_is_hole || self.chunks.contains(&NULL_ADDRESS))
        {
            self.finish_chunks()?;
            return self.add_chunked(attributes, bits);
        }
        if let Chunk::Zeros(pending) = self.chunk {
            self.writer.output.zeros(pending)?;
        }
        let content = match self.tail.len() {
            0 => Content::Plain(self.first_block),
            _ => Content::Inline(self.first_block),
        };
        self.writer.add_inode(
            attributes,
            FileType::Regular,
            self.size,
            content,
            &self.tail,
        )
    }

    /// Ends the last chunk, tail included.
    fn finish_chunks(&mut self) -> Result<(), ErofsError> {
        match self.chunk {
            Chunk::Zeros(0) if self.tail.is_empty() => return Ok(()),
            Chunk::Zeros(_) if is_zero(&self.tail) => {
                self.chunks.push(NULL_ADDRESS);
                return Ok(());
            }
            Chunk::Zeros(before) => self.begin_chunk(before)?,
            Chunk::Data => {}
        }
        self.writer.output.write(&self.tail)?;
        self.writer.output.pad_to_block()?;
        Ok(())
    }

    fn add_chunked(self, attributes: &Attributes, bits: u8) -> Result<Location, ErofsError> {
        debug_assert!(
            BLOCK_BITS + bits < 64 && INODE_BYTES.is_multiple_of(4),
            "list is aligned"
        );
        self.writer.chunked_files = true;
        let list: Vec<u8> = self
            .chunks
            .iter()
            .flat_map(|block| block.to_le_bytes())
            .collect();
        let content = Content::Chunks { bits };
        self.writer
            .add_inode(attributes, FileType::Regular, self.size, content, &list)
    }
}
