//! The verbs, one file each: methods of [`Engine`](crate::Engine).
//!
//! Rule: a verb with several steps runs them in a task of its own ([`to_the_end`]), so that a client
//! that goes away half-way leaves nothing half-done.

pub mod attach;
pub mod commit;
pub mod connect;
pub mod create;
pub mod events;
pub mod exec;
pub mod files;
mod health;
pub mod image_filter;
pub mod images;
pub mod kill;
pub mod list;
pub mod logs;
pub mod machine;
mod mounts;
pub mod network;
pub mod pause;
pub mod registry;
pub mod remove;
pub mod rename;
pub mod resize;
pub mod restart;
pub mod start;
pub mod stats;
pub mod stop;
pub mod top;
pub mod update;
pub mod volumes;
pub mod wait;

use std::future::Future;

/// Runs it in a task of its own and waits for its outcome.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(outcome) => outcome,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Runs what blocks on a thread for such things, and waits for its outcome.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
