//! Notices that a client is gone while nothing is being written to it.
//!
//! With half-close allowed, the end of a client's output says nothing: a client that has sent its
//! request may close that direction and wait. The kernel reports a hang-up only when both directions
//! are closed; this listens for that on a second descriptor of the socket.
//!
//! The same descriptor tells whether the client has read all it was sent.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

/// How long a client is given to read the head of an answer before output follows it.
const HEAD_TIMEOUT: Duration = Duration::from_millis(250);

/// Between two looks at whether it has.
const HEAD_INTERVAL: Duration = Duration::from_millis(1);

/// Tells when the client of a connection is gone.
#[derive(Debug)]
pub(crate) struct Hangup {
    gone: CancellationToken,
    monitor: AbortHandle,
    socket: Arc<OwnedFd>,
}

impl Hangup {
    /// Watches a connection until the last holder is dropped.
    pub(crate) fn watch(stream: &UnixStream) -> io::Result<Arc<Self>> {
        let socket = Arc::new(stream.as_fd().try_clone_to_owned()?);
        let watched = Arc::clone(&socket);
        // SAFETY: the descriptor must stay the same open one while it is registered; an `OwnedFd`
        // of which the `AsyncFd` owns a share can neither be closed nor replaced by anybody else.
        let descriptor = unsafe { AsyncFd::register_with_interest(watched, Interest::WRITABLE) }?;
        let gone = CancellationToken::new();
        let monitor = tokio::spawn(monitor(descriptor, gone.clone())).abort_handle();
        Ok(Arc::new(Self {
            gone,
            monitor,
            socket,
        }))
    }

    /// Resolves when the client is gone.
    pub(crate) async fn happened(&self) {
        self.gone.cancelled().await;
    }

    /// Resolves when the client has read all it was sent so far, or after a while.
    ///
    /// Clients parse the head of an upgrade with a buffered reader and take the stream from the
    /// bare socket (docker-py does): what they read together with the head is lost to them. An exec
    /// here takes less time than such a client needs to look at its socket.
    pub(crate) async fn caught_up(&self) {
        let deadline = tokio::time::Instant::now() + HEAD_TIMEOUT;
        while unread_bytes(&self.socket).is_ok_and(|bytes| bytes > 0)
            && tokio::time::Instant::now() < deadline
        {
            tokio::time::sleep(HEAD_INTERVAL).await;
        }
    }
}

impl Drop for Hangup {
    fn drop(&mut self) {
        self.monitor.abort();
    }
}

async fn monitor(descriptor: AsyncFd<Arc<OwnedFd>>, gone: CancellationToken) {
    while let Ok(mut guard) = descriptor.ready(Interest::WRITABLE).await {
        if guard.ready().is_write_closed() {
            gone.cancel();
            return;
        }
        // Wakes on the next change only.
        guard.clear_ready();
    }
}

/// Bytes that the other end of a unix socket has not read yet, the kernel's own overhead included
/// (`SIOCOUTQ`, which is `TIOCOUTQ`; `unix_outq_len` in the kernel's net/unix/af_unix.c).
fn unread_bytes(socket: &OwnedFd) -> nix::Result<nix::libc::c_int> {
    nix::ioctl_read_bad!(output_queue, nix::libc::TIOCOUTQ, nix::libc::c_int);
    let mut bytes = 0;
    // SAFETY: the request writes one `int` to the pointer, which is of a live one.
    unsafe { output_queue(socket.as_raw_fd(), &raw mut bytes) }?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn output_waits_until_the_client_has_read_what_came_before() {
        let (mut server, mut client) = UnixStream::pair().expect("a pair");
        let hangup = Hangup::watch(&server).expect("a watch");
        server.write_all(b"head").await.expect("room");

        let early = tokio::time::timeout(HEAD_INTERVAL * 3, hangup.caught_up()).await;
        let mut head = [0; 4];
        client.read_exact(&mut head).await.expect("the head");
        let late = tokio::time::timeout(HEAD_TIMEOUT / 2, hangup.caught_up()).await;

        assert!(early.is_err(), "it was unread");
        assert!(late.is_ok(), "it was read");
    }
}
