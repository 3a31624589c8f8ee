//! Notices that a client is gone while nothing is being written to it.
//!
//! With half-close allowed, the end of a client's output says nothing: a client that has sent its
//! request may close that direction and wait. The kernel reports a hang-up only when both directions
//! are closed; this listens for that on a second descriptor of the socket.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

/// Tells when the client of a connection is gone.
#[derive(Debug)]
pub(crate) struct Hangup {
    gone: CancellationToken,
    monitor: AbortHandle,
}

impl Hangup {
    /// Watches a connection until the last holder is dropped.
    pub(crate) fn watch(stream: &UnixStream) -> io::Result<Arc<Self>> {
        let descriptor = stream.as_fd().try_clone_to_owned()?;
        // SAFETY: the descriptor must stay the same open one while it is registered; an `OwnedFd`
        // that the `AsyncFd` owns can neither be closed nor replaced by anybody else.
        let descriptor =
            unsafe { AsyncFd::register_with_interest(descriptor, Interest::WRITABLE) }?;
        let gone = CancellationToken::new();
        let monitor = tokio::spawn(monitor(descriptor, gone.clone())).abort_handle();
        Ok(Arc::new(Self { gone, monitor }))
    }

    /// Resolves when the client is gone.
    pub(crate) async fn happened(&self) {
        self.gone.cancelled().await;
    }
}

impl Drop for Hangup {
    fn drop(&mut self) {
        self.monitor.abort();
    }
}

async fn monitor(descriptor: AsyncFd<OwnedFd>, gone: CancellationToken) {
    while let Ok(mut guard) = descriptor.ready(Interest::WRITABLE).await {
        if guard.ready().is_write_closed() {
            gone.cancel();
            return;
        }
        // Wakes on the next change only.
        guard.clear_ready();
    }
}
