//! Reads a container's log.

use tokio::sync::mpsc;

use crate::container::LookupError;
use crate::engine::Engine;
use crate::log::reader::{self, LogSource};
use crate::log::{LogEntry, LogOptions, ReadLogError};

/// A log being read.
#[derive(Debug)]
pub struct Logs {
    /// Its entries, until the log or, with `follow`, the process ends.
    pub entries: mpsc::Receiver<Result<LogEntry, ReadLogError>>,
    /// Whether it goes raw, without headers.
    pub tty: bool,
}

impl Engine {
    /// Starts to read a container's log.
    ///
    /// # Errors
    /// [`LookupError`] where there is no such container.
    pub fn logs(&self, reference: &str, options: LogOptions) -> Result<Logs, LookupError> {
        let container = self.container(reference)?;
        let source = LogSource {
            path: container.log.path().to_owned(),
            written: container.log.progress(),
            status: container.watch(),
        };
        Ok(Logs {
            entries: reader::read(source, options),
            tty: container.record().config.tty,
        })
    }
}
