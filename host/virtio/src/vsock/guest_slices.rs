//! Guest memory behind descriptors, and the two system calls that move it without a copy.
//!
//! [`receive`] and [`send`] hand guest memory straight to `recvmsg` and `sendmsg`. They are the
//! device's only unsafe code: guest memory may change under us at any time, so no `&[u8]` to it may
//! exist, and the vectored calls that take volatile slices are in no crate we use.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;
use virtio_queue::DescriptorChain;
use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, GuestMemoryBackend, GuestMemoryMmap, VolatileSlice};

/// The most pieces of guest memory one packet or one system call is made of.
///
/// Linux sends at most 18 (`MAX_SKB_FRAGS` and the header); a guest that splits its packets finer
/// would make us walk and list thousands of descriptors.
pub(super) const MAX_SLICES: usize = 64;

/// A descriptor chain no packet can be read from or written to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("descriptor chain is unusable")]
pub(super) struct BadChain;

/// Which descriptors of a chain are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Those the device reads.
    FromGuest,
    /// Those the device writes.
    ToGuest,
}

/// Appends the guest memory behind `chain`'s descriptors of this direction to `slices`.
///
/// A descriptor outside guest memory, or more than `limit` pieces, make the chain bad; what was
/// appended by then must be thrown away.
pub(super) fn gather<'m>(
    memory: &'m GuestMemoryMmap,
    chain: DescriptorChain<&'m GuestMemoryMmap>,
    direction: Direction,
    limit: usize,
    slices: &mut Vec<VolatileSlice<'m>>,
) -> Result<(), BadChain> {
    let wanted = |descriptor: &Descriptor| {
        descriptor.is_write_only() == (direction == Direction::ToGuest) && descriptor.len() > 0
    };
    let first = slices.len();
    for descriptor in chain.filter(wanted) {
        let length = usize::try_from(descriptor.len()).map_err(|_| BadChain)?;
        if slices.len() - first == limit {
            return Err(BadChain);
        }
        // Nearly always in one region: walking them for two costs a tenth of all time here.
        if let Ok(slice) = GuestMemoryBackend::get_slice(memory, descriptor.addr(), length) {
            slices.push(slice);
            continue;
        }
        for slice in GuestMemoryBackend::get_slices(memory, descriptor.addr(), length) {
            if slices.len() - first == limit {
                return Err(BadChain);
            }
            slices.push(slice.map_err(|_| BadChain)?);
        }
    }
    Ok(())
}

/// All bytes of `slices` together.
pub(super) fn total(slices: &[VolatileSlice<'_>]) -> usize {
    slices.iter().map(VolatileSlice::len).sum()
}

/// Takes the first `bytes.len()` bytes off the front of `slices` into `bytes`.
pub(super) fn take_front<'m, 's>(
    mut slices: &'s mut [VolatileSlice<'m>],
    bytes: &mut [u8],
) -> Result<&'s mut [VolatileSlice<'m>], BadChain> {
    let mut filled = 0;
    while filled < bytes.len() {
        let first = slices.first_mut().ok_or(BadChain)?;
        let count = first.len().min(bytes.len() - filled);
        first
            .read_slice(&mut bytes[filled..filled + count], 0)
            .map_err(|_| BadChain)?;
        filled += count;
        *first = first.offset(count).map_err(|_| BadChain)?;
        if first.is_empty() {
            slices = &mut slices[1..];
        }
    }
    Ok(slices)
}

/// Writes `bytes` over `slices` from their front.
pub(super) fn put(slices: &[VolatileSlice<'_>], mut bytes: &[u8]) -> Result<(), BadChain> {
    for slice in slices {
        let (now, later) = bytes.split_at(slice.len().min(bytes.len()));
        slice.write_slice(now, 0).map_err(|_| BadChain)?;
        bytes = later;
    }
    bytes.is_empty().then_some(()).ok_or(BadChain)
}

/// Copies the bytes from `start` up to `end` of `slices` into `sink`, piece by piece.
pub(super) fn copy_range(
    slices: &[VolatileSlice<'_>],
    start: usize,
    end: usize,
    mut sink: impl FnMut(&[u8]),
) -> Result<(), BadChain> {
    /// Small enough for the stack, large enough that the loop does not matter.
    const PIECE_BYTES: usize = 4096;
    let mut piece = [0; PIECE_BYTES];
    let mut slice_start = 0;
    for slice in slices {
        let slice_end = slice_start + slice.len();
        let mut from = start.clamp(slice_start, slice_end);
        let until = end.clamp(slice_start, slice_end);
        while from < until {
            let count = (until - from).min(PIECE_BYTES);
            slice
                .read_slice(&mut piece[..count], from - slice_start)
                .map_err(|_| BadChain)?;
            sink(&piece[..count]);
            from += count;
        }
        slice_start = slice_end;
    }
    Ok(())
}

/// Reads from a stream socket straight into `slices`, at most `limit` bytes; 0 is end of file.
///
/// # Errors
/// Whatever `recvmsg` answers, [`io::ErrorKind::WouldBlock`] where nothing is there yet.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    slices: &[VolatileSlice<'_>],
    limit: usize,
) -> io::Result<usize> {
    let mut vectors = Vectors::new(slices, limit);
    let mut message = vectors.message();
    // SAFETY: `message` points at `vectors`, alive and unmoved until the call returns, whose entries
    // lie in guest memory that the `VolatileSlice`s keep mapped; the kernel may write there, as the
    // guest may, because nothing in this process holds a reference to guest memory.
    let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Writes at most `limit` bytes of `slices` straight to a stream socket.
///
/// # Errors
/// Whatever `sendmsg` answers, [`io::ErrorKind::WouldBlock`] where the socket is full.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    slices: &[VolatileSlice<'_>],
    limit: usize,
) -> io::Result<usize> {
    let mut vectors = Vectors::new(slices, limit);
    let message = vectors.message();
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `message` points at `vectors`, alive and unmoved until the call returns, whose entries
    // lie in guest memory that the `VolatileSlice`s keep mapped; the kernel only reads them, and a
    // guest that changes them meanwhile changes nothing but its own payload.
    let count = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Volatile slices as the kernel takes them.
struct Vectors {
    entries: [libc::iovec; MAX_SLICES],
    count: usize,
}

impl Vectors {
    fn new(slices: &[VolatileSlice<'_>], limit: usize) -> Self {
        const NOTHING: libc::iovec = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        let mut entries = [NOTHING; MAX_SLICES];
        let mut count = 0;
        let mut left = limit;
        for (entry, slice) in entries.iter_mut().zip(slices) {
            if left == 0 {
                break;
            }
            let length = slice.len().min(left);
            entry.iov_base = slice.ptr_guard_mut().as_ptr().cast();
            entry.iov_len = length;
            left -= length;
            count += 1;
        }
        Self { entries, count }
    }

    /// A message over these entries; valid as long as `self` neither moves nor ends.
    fn message(&mut self) -> libc::msghdr {
        // SAFETY: every field of `msghdr` is an integer or a pointer, for which zeroes are valid;
        // a literal is not possible because some libc builds have private padding fields.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = self.entries.as_mut_ptr();
        message.msg_iovlen = self.count as _;
        message
    }
}
