//! What of a layer's archive its EROFS file does not have, so that both together are the archive again,
//! byte for byte: `save` and `push` need it, for a layer is known by its archive's digest.
//!
//! ```text
//! records, one zstd frame:  0 LENGTH bytes              bytes of the archive
//!                           1 FILE OFFSET LENGTH        bytes of a file's data
//! positions of the files' inodes, 64 bits each
//! bytes of the archive · how many positions · bytes of the frame · magic
//! ```
//!
//! Numbers in records are LEB128. A [`Recorder`] sits between the archive and its reader and notes what
//! is consumed; [`Assembler`] reads the archive back.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Take, Write};

use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;

use crate::erofs::StoredFile;

/// Ends the file.
const MAGIC: u64 = u64::from_le_bytes(*b"dhowspl1");

/// Bytes of the last four fields.
const FOOTER_BYTES: u64 = 32;

/// Bytes of a position.
const POSITION_BYTES: u64 = 8;

/// Headers compress a hundredfold at any level; the fastest costs nothing beside the hash.
const LEVEL: i32 = 1;

/// A record of archive bytes.
const LITERAL: u8 = 0;

/// A record of file data.
const CONTENT: u8 = 1;

/// Bytes of a number, at most.
const MAX_NUMBER_BYTES: u32 = 10;

/// Notes what is read through it.
pub(super) struct Recorder<R> {
    input: R,
    records: Encoder<'static, BufWriter<File>>,
    /// File and offset that what is consumed now belongs to.
    content: Option<(u64, u64)>,
    /// Bytes of it so far.
    run: u64,
    literal: Vec<u8>,
    /// Bytes of the archive so far.
    total: u64,
    failed: Option<io::Error>,
}

/// Bytes of a literal record; more are several.
const LITERAL_BYTES: usize = 64 << 10;

impl<R: BufRead> Recorder<R> {
    pub(super) fn new(input: R, output: File) -> io::Result<Self> {
        Ok(Self {
            input,
            records: Encoder::new(BufWriter::new(output), LEVEL)?,
            content: None,
            run: 0,
            literal: Vec::new(),
            total: 0,
            failed: None,
        })
    }

    /// What is consumed from here on is data of a file, from this offset.
    pub(super) fn begin_content(&mut self, file: u64, offset: u64) {
        self.flush();
        self.content = Some((file, offset));
    }

    /// What is consumed from here on is in no file.
    pub(super) fn end_content(&mut self) {
        self.flush();
        self.content = None;
    }

    /// Why noting failed, if it did.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    /// Reads to the end, then writes the rest of the file. Gives back what was read through.
    pub(super) fn finish(mut self, positions: &[u64]) -> io::Result<(R, File)> {
        self.end_content();
        loop {
            let available = self.fill_buf()?.len();
            if available == 0 {
                break;
            }
            self.consume(available);
        }
        self.flush();
        if let Some(error) = self.failed {
            return Err(error);
        }
        let mut output = self.records.finish()?;
        let length = output.stream_position()?;
        for position in positions {
            output.write_all(&position.to_le_bytes())?;
        }
        for field in [self.total, positions.len() as u64, length, MAGIC] {
            output.write_all(&field.to_le_bytes())?;
        }
        let file = output
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        Ok((self.input, file))
    }

    fn flush(&mut self) {
        let written = match self.content {
            Some((file, offset)) if self.run > 0 => {
                self.write_record(CONTENT, &[file, offset, self.run])
            }
            None if !self.literal.is_empty() => {
                let literal = std::mem::take(&mut self.literal);
                let written = self
                    .write_record(LITERAL, &[literal.len() as u64])
                    .and_then(|()| self.records.write_all(&literal));
                self.literal = literal;
                self.literal.clear();
                written
            }
            _ => Ok(()),
        };
        if let Some((_, offset)) = &mut self.content {
            *offset += self.run;
        }
        self.run = 0;
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
    }

    fn write_record(&mut self, kind: u8, numbers: &[u64]) -> io::Result<()> {
        let mut record = vec![kind];
        for number in numbers {
            encode_number(*number, &mut record);
        }
        self.records.write_all(&record)
    }
}

impl<R: BufRead> BufRead for Recorder<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        if self.content.is_some() {
            self.run += count as u64;
        } else if let Ok(available) = self.input.fill_buf() {
            // The same bytes that the caller has just looked at.
            self.literal.extend_from_slice(&available[..count]);
        }
        self.input.consume(count);
        self.total += count as u64;
        if self.literal.len() >= LITERAL_BYTES {
            self.flush();
        }
    }
}

impl<R: BufRead> Read for Recorder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

/// Reads a layer's archive back.
pub(crate) struct Assembler {
    image: File,
    records: Decoder<'static, BufReader<Take<File>>>,
    positions: Vec<u64>,
    total: u64,
    state: State,
}

/// What is being read.
enum State {
    /// Nothing: a record follows.
    Between,
    /// So many bytes of the records.
    Literal(u64),
    /// Data of a file.
    Content {
        file: StoredFile,
        offset: u64,
        left: u64,
    },
}

impl Assembler {
    /// Both files of a layer.
    pub(crate) fn new(image: File, mut split: File) -> io::Result<Self> {
        let damaged = || io::Error::from(io::ErrorKind::InvalidData);
        let size = split.metadata()?.len();
        let footer_at = size.checked_sub(FOOTER_BYTES).ok_or_else(damaged)?;
        split.seek(SeekFrom::Start(footer_at))?;
        let [total, count, length, magic] = read_fields(&mut split)?;
        let positions_bytes = count.checked_mul(POSITION_BYTES).ok_or_else(damaged)?;
        if magic != MAGIC || length.checked_add(positions_bytes) != Some(footer_at) {
            return Err(damaged());
        }
        split.seek(SeekFrom::Start(length))?;
        let mut bytes = Vec::new();
        (&mut split).take(positions_bytes).read_to_end(&mut bytes)?;
        let (words, _) = bytes.as_chunks::<8>();
        let positions = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        split.seek(SeekFrom::Start(0))?;
        Ok(Self {
            image,
            records: Decoder::new(split.take(length))?,
            positions,
            total,
            state: State::Between,
        })
    }

    /// Bytes of the archive.
    pub(crate) fn size(&self) -> u64 {
        self.total
    }

    /// The next record; `false` at the end.
    fn next_record(&mut self) -> io::Result<bool> {
        let mut kind = [0];
        if self.records.read(&mut kind)? == 0 {
            return Ok(false);
        }
        self.state = match kind[0] {
            LITERAL => State::Literal(decode_number(&mut self.records)?),
            CONTENT => {
                let file = decode_number(&mut self.records)?;
                let offset = decode_number(&mut self.records)?;
                let left = decode_number(&mut self.records)?;
                let file = usize::try_from(file).ok();
                let inode = file.and_then(|file| self.positions.get(file));
                let inode = inode.ok_or(io::ErrorKind::InvalidData)?;
                let file = StoredFile::open(&self.image, *inode)?;
                State::Content { file, offset, left }
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        Ok(true)
    }
}

impl Read for Assembler {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let (count, left) = match &mut self.state {
                State::Between => {
                    if self.next_record()? {
                        continue;
                    }
                    return Ok(0);
                }
                State::Literal(left) => {
                    let count = (&mut self.records).take(*left).read(buffer)?;
                    *left -= count as u64;
                    (count, *left)
                }
                State::Content { file, offset, left } => {
                    let limit = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(buffer.len());
                    let count = file.read_at(&self.image, &mut buffer[..limit], *offset)?;
                    *offset += count as u64;
                    *left -= count as u64;
                    (count, *left)
                }
            };
            if left == 0 {
                self.state = State::Between;
            }
            if count > 0 {
                return Ok(count);
            }
            if left > 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn read_fields(input: &mut impl Read) -> io::Result<[u64; 4]> {
    let mut fields = [0; 4];
    for field in &mut fields {
        let mut bytes = [0; 8];
        input.read_exact(&mut bytes)?;
        *field = u64::from_le_bytes(bytes);
    }
    Ok(fields)
}

/// LEB128, unsigned.
fn encode_number(mut number: u64, into: &mut Vec<u8>) {
    loop {
        let [low, ..] = (number & 0x7f).to_le_bytes();
        number >>= 7;
        if number == 0 {
            into.push(low);
            return;
        }
        into.push(low | 0x80);
    }
}

fn decode_number(input: &mut impl Read) -> io::Result<u64> {
    let mut number = 0;
    for at in 0..MAX_NUMBER_BYTES {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        number |= u64::from(byte[0] & 0x7f) << (7 * at);
        if byte[0] & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            encode_number(number, &mut bytes);
            assert_eq!(decode_number(&mut bytes.as_slice()).unwrap(), number);
        }
        decode_number(&mut [0x80; 11].as_slice()).unwrap_err();
    }

    #[test]
    fn refuses_a_file_that_is_no_split() {
        let image = tempfile::tempfile().unwrap();
        let mut split = tempfile::tempfile().unwrap();
        split.write_all(&[0; 64]).unwrap();
        let refused = Assembler::new(image, split).err().map(|error| error.kind());
        assert_eq!(refused, Some(io::ErrorKind::InvalidData));
    }
}
