//! Hashes a stream on a thread of its own while it is being read.
//!
//! SHA-256 of a layer costs about as much as all other work on it, and hosts have two cores or more.
//! [`HashingReader`] fills a buffer, lends it to the hashing thread and to its reader at once, and
//! reuses it when both are done; no byte is copied for the hash.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use sha2::Digest as _;
use sha2::Sha256;

use crate::digest::Digest;

/// Bytes in one buffer: large enough that handing over costs nothing, small enough for the cache.
const BUFFER_BYTES: usize = 256 << 10;

/// Buffers that may wait for the hashing thread.
const QUEUE_LENGTH: usize = 4;

/// A buffered reader that also computes the digest of all it read.
#[derive(Debug)]
pub(crate) struct HashingReader<R> {
    input: R,
    buffer: Arc<Vec<u8>>,
    /// First byte of `buffer` not consumed.
    start: usize,
    spare: Vec<Arc<Vec<u8>>>,
    worker: Worker,
    total: u64,
}

/// The hashing thread; it ends when its sender is dropped.
#[derive(Debug)]
struct Worker {
    sender: SyncSender<Arc<Vec<u8>>>,
    thread: JoinHandle<Digest>,
}

impl Worker {
    fn start() -> io::Result<Self> {
        let (sender, receiver) = sync_channel::<Arc<Vec<u8>>>(QUEUE_LENGTH);
        let thread = std::thread::Builder::new()
            .name("layer-hash".to_owned())
            .spawn(move || {
                let mut hasher = Sha256::new();
                for buffer in receiver {
                    hasher.update(buffer.as_slice());
                }
                Digest::from_bytes(hasher.finalize().into())
            })?;
        Ok(Self { sender, thread })
    }

    fn finish(self) -> Digest {
        drop(self.sender);
        self.thread.join().expect("hashing cannot panic")
    }
}

impl<R: Read> HashingReader<R> {
    /// Starts the hashing thread.
    pub(crate) fn new(input: R) -> io::Result<Self> {
        let worker = Worker::start()?;
        Ok(Self {
            input,
            buffer: Arc::default(),
            start: 0,
            spare: Vec::new(),
            worker,
            total: 0,
        })
    }

    /// Reads to the end, then returns the digest and number of all bytes.
    pub(crate) fn finish(self) -> io::Result<(Digest, u64)> {
        let (_, digest, total) = self.finish_with()?;
        Ok((digest, total))
    }

    /// As [`finish`](Self::finish), and gives the input back.
    pub(crate) fn finish_with(mut self) -> io::Result<(R, Digest, u64)> {
        loop {
            let available = self.fill_buf()?.len();
            if available == 0 {
                return Ok((self.input, self.worker.finish(), self.total));
            }
            self.consume(available);
        }
    }

    /// Takes a buffer that the hashing thread has let go of, or makes one.
    fn take_buffer(&mut self) -> Vec<u8> {
        let free = self
            .spare
            .iter()
            .position(|buffer| Arc::strong_count(buffer) == 1);
        let free = free.map(|index| self.spare.swap_remove(index));
        free.and_then(Arc::into_inner)
            .unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }
}

impl<R: Read> BufRead for HashingReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.buffer.len() {
            let mut buffer = self.take_buffer();
            buffer.clear();
            let limit = BUFFER_BYTES as u64;
            (&mut self.input).take(limit).read_to_end(&mut buffer)?;
            self.total += buffer.len() as u64;
            let full = Arc::new(buffer);
            self.spare
                .push(std::mem::replace(&mut self.buffer, Arc::clone(&full)));
            self.start = 0;
            if !full.is_empty() {
                // The thread only ends before its sender is dropped by panicking, which join reports.
                let _ = self.worker.sender.send(full);
            }
        }
        Ok(&self.buffer[self.start..])
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(target.len());
        target[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_all_bytes_when_the_reader_stops_early() {
        let content: Vec<u8> = (0..3 * BUFFER_BYTES + 17)
            .map(|at| at.to_le_bytes()[0])
            .collect();
        let mut reader = HashingReader::new(content.as_slice()).unwrap();
        reader.read_exact(&mut [0; 100]).unwrap();

        let (digest, total) = reader.finish().unwrap();

        assert_eq!(total, content.len() as u64);
        assert_eq!(digest, Digest::of(&content));
    }
}
