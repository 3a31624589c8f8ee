//! The output file: sequential writes, holes instead of long runs of zeros, and rare patches.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};

use super::ErofsError;
use super::format::{BLOCK_BYTES_U64, NULL_ADDRESS};

/// Bytes gathered before a system call.
const BUFFER_BYTES: usize = 1 << 20;

/// Shorter runs of zeros are written, longer ones skipped: skipping flushes the buffer.
const SKIP_MINIMUM_BYTES: u64 = 128 << 10;

/// Zeros to write from and to compare with.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A file being written from start to end.
#[derive(Debug)]
pub(super) struct Output {
    file: BufWriter<File>,
    position: u64,
}

impl Output {
    pub(super) fn new(file: File) -> Self {
        Self {
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            position: 0,
        }
    }

    /// Bytes written so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The block number of the position, which is at the start of a block.
    pub(super) fn block(&self) -> Result<u32, ErofsError> {
        debug_assert!(
            self.position.is_multiple_of(BLOCK_BYTES_U64),
            "only whole blocks are written"
        );
        let block = u32::try_from(self.position / BLOCK_BYTES_U64);
        block
            .ok()
            .filter(|block| *block != NULL_ADDRESS)
            .ok_or(ErofsError::TooLarge)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Writes `count` zeros, as a hole if there are many.
    pub(super) fn zeros(&mut self, count: u64) -> io::Result<()> {
        self.position += count;
        if count >= SKIP_MINIMUM_BYTES {
            self.file.seek(SeekFrom::Start(self.position))?;
            return Ok(());
        }
        let mut left = usize::try_from(count).expect("a run of zeros to write is short");
        while left > 0 {
            let part = left.min(ZEROS.len());
            self.file.write_all(&ZEROS[..part])?;
            left -= part;
        }
        Ok(())
    }

    /// Fills the current block.
    pub(super) fn pad_to_block(&mut self) -> io::Result<()> {
        self.zeros(self.position.next_multiple_of(BLOCK_BYTES_U64) - self.position)
    }

    /// Replaces bytes written before.
    pub(super) fn patch(&mut self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(position))?;
        self.file.write_all(bytes)
    }

    /// Writes out what is buffered and gives the file its length.
    pub(super) fn finish(self) -> io::Result<File> {
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.set_len(self.position)?;
        Ok(file)
    }
}

/// Whether all bytes are zero, compared in long runs: this decides the speed of huge empty files.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(ZEROS.len())
        .all(|chunk| *chunk == ZEROS[..chunk.len()])
}
