//! Standard output and error, written without ever holding up the rest of the program.
//!
//! A reader that is slow must not keep signals or input from being passed on. Most of the time it
//! is not slow: a look with poll(2) and a small write cost no thread. Only when the descriptor has
//! no room does a helper thread wait for it.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::FileType;

/// A pipe that can be written to takes so much without blocking (pipe(7), `PIPE_BUF`).
const PIPE_ATOMIC_BYTES: usize = 4096;

/// Which of our two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// One of our outputs.
#[derive(Debug)]
pub(crate) struct Sink {
    stream: Stream,
    largest_write: usize,
}

impl Sink {
    /// Standard output or error.
    pub(crate) fn new(stream: Stream) -> Self {
        // A file always takes everything.
        let is_file = rustix::fs::fstat(descriptor(stream))
            .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::RegularFile);
        Self {
            stream,
            largest_write: if is_file {
                usize::MAX
            } else {
                PIPE_ATOMIC_BYTES
            },
        }
    }

    /// Writes everything.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if !has_room(self.stream, Some(&Timespec::default()))? {
                let stream = self.stream;
                tokio::task::spawn_blocking(move || has_room(stream, None))
                    .await
                    .map_err(io::Error::other)??;
            }
            let piece = &rest[..rest.len().min(self.largest_write)];
            match rustix::io::write(descriptor(self.stream), piece) {
                Ok(written) => rest = &rest[written..],
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

fn descriptor(stream: Stream) -> BorrowedFd<'static> {
    match stream {
        Stream::Output => rustix::stdio::stdout(),
        Stream::Error => rustix::stdio::stderr(),
    }
}

/// Whether it can be written to; waits for that without a timeout. An error counts as room: the
/// write will tell it.
fn has_room(stream: Stream, timeout: Option<&Timespec>) -> io::Result<bool> {
    let descriptor = descriptor(stream);
    let mut descriptors = [PollFd::new(&descriptor, PollFlags::OUT)];
    match rustix::event::poll(&mut descriptors, timeout) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
