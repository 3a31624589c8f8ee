//! vhost-user messages on a unix socket.
//!
//! A message is a 12-byte header (request, flags, payload size), the payload, and descriptors that
//! travel with its first byte. [`Channel`] keeps what has arrived of a message, so that receiving
//! never blocks and a front-end that stops half-way delays nobody.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendFlags, recvmsg, sendmsg,
};
use vhost::vhost_user::message::{MAX_MSG_SIZE, VhostUserHeaderFlag};
use vm_memory::ByteValued;

/// The most descriptors one message may carry: one for each memory region of the baseline protocol.
pub(crate) const MAX_MESSAGE_FILES: usize = 8;

/// The only protocol version there is (bits 0 and 1 of the flags).
const VERSION: u32 = 1;

const HEADER_BYTES: usize = 12;

/// Why the conversation cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The peer closed its end, between messages or within one.
    #[error("the front-end hung up")]
    HungUp,
    /// The socket failed.
    #[error("failed to {operation} on the vhost-user socket")]
    Socket {
        operation: &'static str,
        #[source]
        source: io::Error,
    },
    /// A header with the wrong version, a reply flag, or a payload no message has.
    #[error("malformed header (flags {flags:#x}, {size} bytes)")]
    Header { flags: u32, size: u32 },
    /// More descriptors than any message has.
    #[error("more than {MAX_MESSAGE_FILES} descriptors in one message")]
    TooManyFiles,
    /// A payload shorter than its request's.
    #[error("payload ends after {size} bytes")]
    Truncated { size: usize },
}

/// One request.
#[derive(Debug)]
pub(crate) struct Message {
    /// Its number; may be one nobody knows.
    pub(crate) request: u32,
    pub(crate) payload: Vec<u8>,
    pub(crate) files: Vec<OwnedFd>,
}

impl Message {
    /// The payload's first bytes as `T`. What follows is ignored, as the specification asks.
    pub(crate) fn body<T: ByteValued + Default>(&self) -> Result<T, WireError> {
        read_object(&self.payload)
    }
}

/// The first bytes of `bytes` as a `T`.
pub(crate) fn read_object<T: ByteValued + Default>(bytes: &[u8]) -> Result<T, WireError> {
    let mut object = T::default();
    let size = bytes.len();
    let source = bytes
        .get(..size_of::<T>())
        .ok_or(WireError::Truncated { size })?;
    object.as_mut_slice().copy_from_slice(source);
    Ok(object)
}

/// The socket of one front-end, and the part of a message it has sent so far.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: UnixStream,
    header: [u8; HEADER_BYTES],
    payload: Vec<u8>,
    files: Vec<OwnedFd>,
    received: usize,
}

impl Channel {
    /// Takes over an accepted socket.
    pub(crate) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            header: [0; HEADER_BYTES],
            payload: Vec::new(),
            files: Vec::new(),
            received: 0,
        })
    }

    /// The next whole message, or `None` while more of it must arrive first.
    pub(crate) fn receive(&mut self) -> Result<Option<Message>, WireError> {
        while self.received < HEADER_BYTES {
            if !self.fill()? {
                return Ok(None);
            }
            if self.received == HEADER_BYTES {
                self.start_payload()?;
            }
        }
        while self.received < HEADER_BYTES + self.payload.len() {
            if !self.fill()? {
                return Ok(None);
            }
        }
        self.received = 0;
        let [request, ..] = self.header_words();
        Ok(Some(Message {
            request,
            payload: std::mem::take(&mut self.payload),
            files: std::mem::take(&mut self.files),
        }))
    }

    /// Answers `request`. Replies are small and a front-end waits for each, so a full socket means
    /// one that does not read: an error, never a wait.
    pub(crate) fn reply(&self, request: u32, parts: &[&[u8]]) -> Result<(), WireError> {
        let size: usize = parts.iter().map(|part| part.len()).sum();
        let flags = VERSION | VhostUserHeaderFlag::REPLY.bits();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + size);
        bytes.extend_from_slice(&request.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_ne_bytes());
        for part in parts {
            bytes.extend_from_slice(part);
        }
        let failed = |source| WireError::Socket {
            operation: "reply",
            source,
        };
        let sent = sendmsg(
            &self.socket,
            &[IoSlice::new(&bytes)],
            &mut SendAncillaryBuffer::default(),
            SendFlags::NOSIGNAL,
        )
        .map_err(|errno| failed(errno.into()))?;
        if sent == bytes.len() {
            Ok(())
        } else {
            Err(failed(io::ErrorKind::WriteZero.into()))
        }
    }

    /// Receives into the header or the payload, whichever is incomplete; false when it must wait.
    fn fill(&mut self) -> Result<bool, WireError> {
        let target = match self.received.checked_sub(HEADER_BYTES) {
            None => &mut self.header[self.received..],
            Some(received) => &mut self.payload[received..],
        };
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_MESSAGE_FILES))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let message = loop {
            match recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(target)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                Ok(message) => break message,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(false),
                Err(rustix::io::Errno::CONNRESET) => return Err(WireError::HungUp),
                Err(errno) => {
                    return Err(WireError::Socket {
                        operation: "receive",
                        source: errno.into(),
                    });
                }
            }
        };
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = part {
                self.files.extend(files);
            }
        }
        if message.bytes == 0 {
            return Err(WireError::HungUp);
        }
        if message.flags.contains(ReturnFlags::CTRUNC) || self.files.len() > MAX_MESSAGE_FILES {
            return Err(WireError::TooManyFiles);
        }
        self.received += message.bytes;
        Ok(true)
    }

    /// Checks a complete header and makes room for its payload.
    fn start_payload(&mut self) -> Result<(), WireError> {
        let [_, flags, size] = self.header_words();
        let malformed = WireError::Header { flags, size };
        let version = flags & VhostUserHeaderFlag::VERSION.bits();
        let is_reply = flags & VhostUserHeaderFlag::REPLY.bits() != 0;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        // NEED_REPLY is ignored: REPLY_ACK is never offered.
        if version != VERSION || is_reply || size > MAX_MSG_SIZE {
            return Err(malformed);
        }
        self.payload.clear();
        self.payload.resize(size, 0);
        Ok(())
    }

    /// Request, flags and payload size, each in the host's byte order.
    fn header_words(&self) -> [u32; 3] {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = self.header;
        [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_ne_bytes)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests;
