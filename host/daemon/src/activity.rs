//! Counts requests that are being answered, so that the daemon knows when it is idle.
//!
//! Connections do not count: clients keep them open for hours.

use std::sync::Arc;

use tokio::sync::watch;

/// The count.
#[derive(Clone, Debug)]
pub(crate) struct Activity(Arc<watch::Sender<usize>>);

/// A request being answered; lives in its response's body or its hijacked streams.
#[derive(Debug)]
pub(crate) struct Ongoing(Arc<watch::Sender<usize>>);

impl Activity {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::channel(0).0))
    }

    pub(crate) fn begin(&self) -> Arc<Ongoing> {
        self.0.send_modify(|count| *count += 1);
        Arc::new(Ongoing(Arc::clone(&self.0)))
    }

    pub(crate) fn watch(&self) -> watch::Receiver<usize> {
        self.0.subscribe()
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
