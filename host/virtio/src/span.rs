//! Guest memory as a device sees one request: an ordered run of segments, consumed from the front.
//!
//! [`Chain`] collects a descriptor chain into segments once; nothing is read from the descriptor
//! table a second time, so the guest cannot change a length after it was checked. [`GuestSpan`]
//! then moves bytes between those segments and a file or a buffer. File transfers go straight
//! between the page cache and guest memory (`preadv`, `pwritev`), without a bounce buffer.
//!
//! Rule: guest memory is shared with a running guest, so no Rust reference to it is ever made.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::libc;
use virtio_queue::DescriptorChain;
use vm_memory::volatile_memory::PtrGuardMut;
use vm_memory::{Bytes, GuestAddress, GuestMemory, GuestMemoryMmap, Permissions};

/// The most descriptors one request may have: the largest ring of a device here.
///
/// An indirect table may hold 65,535 entries; without a bound of ours a guest could make each
/// request cost that many segments.
pub(crate) const MAX_SEGMENTS: usize = 256;

/// The most segments handed to the kernel in one call (`UIO_MAXIOV` is 1024).
const MAX_VECTORS: usize = 64;

/// What fills holes.
static ZEROES: [u8; 4096] = [0; 4096];

/// A piece of guest memory, contiguous in guest addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    address: GuestAddress,
    length: usize,
}

/// A chain that breaks the rules of the ring: cut short, too long, or in the wrong order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed descriptor chain")]
pub(crate) struct MalformedChain;

/// The segments of one request; kept between requests so that none allocates.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    readable: Vec<Segment>,
    writable: Vec<Segment>,
}

impl Chain {
    /// Forgets all segments.
    pub(crate) fn clear(&mut self) {
        self.readable.clear();
        self.writable.clear();
    }

    /// Replaces the segments with those of `descriptors`.
    pub(crate) fn load(
        &mut self,
        descriptors: DescriptorChain<&GuestMemoryMmap>,
    ) -> Result<(), MalformedChain> {
        self.clear();
        self.append(descriptors)
    }

    /// Puts the segments of a chain that is all writable, and all inside guest memory, behind those
    /// of others; says how many bytes they hold. Any other chain adds nothing.
    pub(crate) fn add_writable(
        &mut self,
        memory: &GuestMemoryMmap,
        descriptors: DescriptorChain<&GuestMemoryMmap>,
    ) -> Result<u32, MalformedChain> {
        let first = self.writable.len();
        let appended = self.append(descriptors);
        let added = &self.writable[first..];
        let usable = appended.is_ok()
            && self.readable.is_empty()
            && added.iter().all(|segment| {
                let Segment { address, length } = *segment;
                GuestMemory::check_range(memory, address, length, Permissions::Write)
            });
        let length = added.iter().map(|segment| segment.length).sum::<usize>();
        match u32::try_from(length) {
            Ok(length) if usable => Ok(length),
            _ => {
                self.readable.clear();
                self.writable.truncate(first);
                Err(MalformedChain)
            }
        }
    }

    /// How many segments may be written to.
    pub(crate) fn writable_segments(&self) -> usize {
        self.writable.len()
    }

    fn append(
        &mut self,
        descriptors: DescriptorChain<&GuestMemoryMmap>,
    ) -> Result<(), MalformedChain> {
        let mut unfinished = false;
        for (index, descriptor) in descriptors.enumerate() {
            // Virtio 1.2, 2.7.4.2: writable descriptors come after all readable ones.
            let out_of_order = !descriptor.is_write_only() && !self.writable.is_empty();
            if index == MAX_SEGMENTS || out_of_order {
                return Err(MalformedChain);
            }
            unfinished = descriptor.has_next();
            let Ok(length @ 1..) = usize::try_from(descriptor.len()) else {
                continue;
            };
            let segments = match descriptor.is_write_only() {
                true => &mut self.writable,
                false => &mut self.readable,
            };
            segments.push(Segment {
                address: descriptor.addr(),
                length,
            });
        }
        // The iterator ends without a word at a bad index, a loop or an unreadable table.
        if unfinished {
            Err(MalformedChain)
        } else {
            Ok(())
        }
    }

    /// What the guest wrote for the device, and where the device may write.
    pub(crate) fn spans<'a>(
        &'a mut self,
        memory: &'a GuestMemoryMmap,
    ) -> (GuestSpan<'a>, GuestSpan<'a>) {
        (
            GuestSpan::new(memory, &mut self.readable),
            GuestSpan::new(memory, &mut self.writable),
        )
    }
}

/// The rest of a request's readable or writable bytes.
#[derive(Debug)]
pub struct GuestSpan<'a> {
    memory: &'a GuestMemoryMmap,
    segments: &'a mut [Segment],
    length: usize,
}

impl<'a> GuestSpan<'a> {
    fn new(memory: &'a GuestMemoryMmap, segments: &'a mut [Segment]) -> Self {
        // At most MAX_SEGMENTS lengths of 32 bits each.
        let length = segments.iter().map(|segment| segment.length).sum();
        Self {
            memory,
            segments,
            length,
        }
    }

    /// Bytes left.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Takes the last byte off the end: where a block request's status goes.
    pub(crate) fn split_last(&mut self) -> Option<GuestAddress> {
        let segments = std::mem::take(&mut self.segments);
        let mut keep = segments.len();
        let last = segments.last_mut()?;
        last.length -= 1;
        self.length -= 1;
        if last.length == 0 {
            keep -= 1;
        }
        let address = last.address.0.checked_add(last.length as u64);
        self.segments = &mut segments[..keep];
        address.map(GuestAddress)
    }

    /// Reads the next `buffer.len()` bytes.
    ///
    /// # Errors
    /// Fewer bytes are left, or a segment lies outside guest memory.
    pub fn read_bytes(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.check(buffer.len())?;
        let mut rest = buffer;
        while let Some((address, length)) = self.front(rest.len()) {
            let (part, others) = rest.split_at_mut(length);
            self.memory
                .read_slice(part, address)
                .map_err(outside_guest_memory)?;
            rest = others;
            self.advance(length);
        }
        Ok(())
    }

    /// Writes `bytes` to the next bytes.
    ///
    /// # Errors
    /// Fewer bytes are left, or a segment lies outside guest memory.
    pub fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.check(bytes.len())?;
        let mut rest = bytes;
        while let Some((address, length)) = self.front(rest.len()) {
            let (part, others) = rest.split_at(length);
            self.memory
                .write_slice(part, address)
                .map_err(outside_guest_memory)?;
            rest = others;
            self.advance(length);
        }
        Ok(())
    }

    /// Writes `count` zeroes to the next bytes.
    ///
    /// # Errors
    /// Fewer bytes are left, or a segment lies outside guest memory.
    pub fn fill_zeroes(&mut self, count: usize) -> io::Result<()> {
        self.check(count)?;
        let mut left = count;
        while left > 0 {
            let part = left.min(ZEROES.len());
            self.write_bytes(&ZEROES[..part])?;
            left -= part;
        }
        Ok(())
    }

    /// Fills the next `count` bytes from `file` at `offset`.
    ///
    /// # Errors
    /// The file ends too soon or fails, or a segment lies outside guest memory.
    pub fn fill_from_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<()> {
        self.transfer(offset, count, |vectors, position| {
            // SAFETY: each entry of `vectors` is a live, writable mapping of guest memory (see
            // `vectors`), to which no Rust reference exists; the count is the slice's own.
            unsafe {
                libc::preadv64(
                    file.as_raw_fd(),
                    vectors.as_ptr(),
                    vector_count(vectors),
                    position,
                )
            }
        })
    }

    /// Writes the next `count` bytes to `file` at `offset`.
    ///
    /// # Errors
    /// The file is full or fails, or a segment lies outside guest memory.
    pub fn drain_to_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<()> {
        self.transfer(offset, count, |vectors, position| {
            // SAFETY: each entry of `vectors` is a live mapping of guest memory (see `vectors`);
            // the kernel only reads it; the count is the slice's own.
            unsafe {
                libc::pwritev64(
                    file.as_raw_fd(),
                    vectors.as_ptr(),
                    vector_count(vectors),
                    position,
                )
            }
        })
    }

    /// Runs `call` over the next `count` bytes until all are moved.
    fn transfer(
        &mut self,
        offset: u64,
        count: usize,
        call: impl Fn(&[libc::iovec], libc::off64_t) -> libc::ssize_t,
    ) -> io::Result<()> {
        self.check(count)?;
        let mut position = libc::off64_t::try_from(offset)
            .map_err(|source| io::Error::new(io::ErrorKind::InvalidInput, source))?;
        let mut left = count;
        while left > 0 {
            let (vectors, _guards) = self.vectors(left)?;
            let Ok(moved) = usize::try_from(call(&vectors, position)) else {
                let source = io::Error::last_os_error();
                if source.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(source);
            };
            if moved == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.advance(moved);
            left -= moved;
            position += libc::off64_t::try_from(moved).expect("a read returns at most ssize_t");
        }
        Ok(())
    }

    /// The kernel's view of the next `limit` bytes, or of as many as fit [`MAX_VECTORS`].
    ///
    /// The guards keep the mappings in place and must outlive the call that uses the vectors.
    fn vectors(&self, limit: usize) -> io::Result<(Vec<libc::iovec>, Vec<PtrGuardMut>)> {
        let expected = self.segments.len().min(MAX_VECTORS);
        let mut vectors = Vec::with_capacity(expected);
        let mut guards = Vec::with_capacity(expected);
        let mut left = limit;
        for segment in self.segments.iter().take(MAX_VECTORS) {
            let length = segment.length.min(left);
            let slices = self
                .memory
                .get_slices(segment.address, length, Permissions::ReadWrite)
                .map_err(outside_guest_memory)?;
            for slice in slices {
                let slice = slice.map_err(outside_guest_memory)?;
                let guard = slice.ptr_guard_mut();
                vectors.push(libc::iovec {
                    iov_base: guard.as_ptr().cast(),
                    iov_len: slice.len(),
                });
                guards.push(guard);
            }
            left -= length;
            if left == 0 {
                break;
            }
        }
        Ok((vectors, guards))
    }

    /// The first segment, cut to `limit` bytes; none when either is empty.
    fn front(&self, limit: usize) -> Option<(GuestAddress, usize)> {
        let segment = self.segments.first().filter(|_| limit > 0)?;
        Some((segment.address, segment.length.min(limit)))
    }

    /// Takes `count` bytes off the front; the caller checked that they are there.
    fn advance(&mut self, count: usize) {
        let mut left = count;
        self.length -= count;
        while left > 0 {
            let segments = std::mem::take(&mut self.segments);
            let Some(first) = segments.first_mut() else {
                return;
            };
            let step = first.length.min(left);
            left -= step;
            if step == first.length {
                self.segments = &mut segments[1..];
            } else {
                first.length -= step;
                // Cannot wrap: the bytes just moved were inside guest memory.
                first.address.0 = first.address.0.wrapping_add(step as u64);
                self.segments = segments;
            }
        }
    }

    fn check(&self, count: usize) -> io::Result<()> {
        if count <= self.length {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// The count argument of the vectored calls; never above [`MAX_VECTORS`] by much.
fn vector_count(vectors: &[libc::iovec]) -> libc::c_int {
    libc::c_int::try_from(vectors.len()).unwrap_or(libc::c_int::MAX)
}

fn outside_guest_memory(source: vm_memory::GuestMemoryError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, source)
}
