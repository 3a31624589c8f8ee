//! Appends a process's output to its log, line by line.
//!
//! Rule: the log never ends a container. When it cannot be written (disk full), lines are lost and
//! that is said once.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dhow_protocol::stream::StreamKind;
use tokio::sync::watch;

use super::{StoredLine, StoredStream};
use crate::time::Timestamp;

/// A line longer than this becomes several entries, as with Docker; it bounds what an endless line
/// keeps in memory.
const MAX_ENTRY_BYTES: usize = 16 * 1024;

/// The writing end of a container's log.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    state: Mutex<WriterState>,
    written: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct WriterState {
    file: Option<File>,
    failed: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl LogWriter {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            state: Mutex::default(),
            written: watch::channel(0).0,
        }
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Changes whenever something was written.
    pub(crate) fn progress(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Takes output in. Whole lines are written at once with one write into the page cache, which
    /// is cheaper than a hop to a blocking thread for each frame.
    pub(crate) fn append(&self, kind: StreamKind, bytes: &[u8]) {
        let time = Timestamp::now().to_string();
        let mut state = self.locked();
        let (partial, stream) = match kind {
            StreamKind::Stdout => (&mut state.stdout, StoredStream::Stdout),
            StreamKind::Stderr => (&mut state.stderr, StoredStream::Stderr),
            StreamKind::Stdin | StreamKind::Exit => return,
        };
        partial.extend_from_slice(bytes);
        let text = take_entries(partial, stream, &time);
        self.write(&mut state, &text);
    }

    /// Writes what has no line end yet, and closes the file: the process has ended.
    pub(crate) fn finish(&self) {
        let time = Timestamp::now().to_string();
        let mut state = self.locked();
        let mut text = Vec::new();
        let rest = std::mem::take(&mut state.stdout);
        push_entry(&mut text, &rest, StoredStream::Stdout, &time);
        let rest = std::mem::take(&mut state.stderr);
        push_entry(&mut text, &rest, StoredStream::Stderr, &time);
        self.write(&mut state, &text);
        *state = WriterState::default();
    }

    fn write(&self, state: &mut WriterState, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        match self.try_write(state, text) {
            Ok(()) => self.written.send_modify(|count| *count += 1),
            Err(error) if !state.failed => {
                state.failed = true;
                tracing::warn!(path = %self.path.display(), %error, "log lines are lost");
            }
            Err(_) => {}
        }
    }

    fn try_write(&self, state: &mut WriterState, text: &[u8]) -> io::Result<()> {
        let file = match &mut state.file {
            Some(file) => file,
            missing => missing.insert(
                OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(&self.path)?,
            ),
        };
        file.write_all(text)
    }

    fn locked(&self) -> MutexGuard<'_, WriterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves whole lines, and pieces of overlong ones, out of `partial`.
fn take_entries(partial: &mut Vec<u8>, stream: StoredStream, time: &str) -> Vec<u8> {
    let mut text = Vec::new();
    let mut start = 0;
    loop {
        let rest = &partial[start..];
        let window = &rest[..rest.len().min(MAX_ENTRY_BYTES)];
        let length = match window.iter().position(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if window.len() == MAX_ENTRY_BYTES => window.len(),
            None => break,
        };
        push_entry(&mut text, &rest[..length], stream, time);
        start += length;
    }
    partial.drain(..start);
    text
}

fn push_entry(text: &mut Vec<u8>, entry: &[u8], stream: StoredStream, time: &str) {
    if entry.is_empty() {
        return;
    }
    let log: Cow<'_, str> = String::from_utf8_lossy(entry);
    let line = StoredLine {
        log,
        stream,
        time: time.to_owned(),
    };
    serde_json::to_writer(&mut *text, &line).expect("strings always encode");
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_once_it_is_whole() {
        let mut partial = b"one\ntw".to_vec();

        let text = take_entries(&mut partial, StoredStream::Stdout, "T");

        assert_eq!(
            String::from_utf8(text).unwrap(),
            "{\"log\":\"one\\n\",\"stream\":\"stdout\",\"time\":\"T\"}\n"
        );
        assert_eq!(partial, b"tw");
    }

    #[test]
    fn an_endless_line_is_cut() {
        let mut partial = vec![b'x'; MAX_ENTRY_BYTES + 1];

        let text = take_entries(&mut partial, StoredStream::Stderr, "T");

        assert!(text.len() > MAX_ENTRY_BYTES);
        assert_eq!(partial, b"x");
    }

    #[test]
    fn a_log_that_cannot_be_written_stops_nobody() {
        let log = LogWriter::new(PathBuf::from("/nonexistent/log.json"));

        log.append(StreamKind::Stdout, b"lost\n");
        log.finish();
    }
}
