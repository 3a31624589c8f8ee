//! A container's log: one JSON object a line, as Docker's `json-file` driver writes it.
//!
//! ```text
//! {"log":"a line\n","stream":"stdout","time":"2026-01-02T03:04:05.000000006Z"}
//! ```
//!
//! [`writer`] appends, [`reader`] reads back with `tail`, `since`, `until` and `follow`.

pub mod reader;
pub mod writer;

use dhow_protocol::stream::StreamKind;
use serde::{Deserialize, Serialize};

pub use reader::{LogEntry, LogOptions, ReadLogError};
pub use writer::LogWriter;

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct StoredLine<'a> {
    #[serde(borrow)]
    log: std::borrow::Cow<'a, str>,
    stream: StoredStream,
    time: String,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredStream {
    Stdout,
    Stderr,
}

impl StoredStream {
    fn kind(self) -> StreamKind {
        match self {
            Self::Stdout => StreamKind::Stdout,
            Self::Stderr => StreamKind::Stderr,
        }
    }
}
