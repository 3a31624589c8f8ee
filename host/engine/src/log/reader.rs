//! Reads a container's log back: from the end (`tail`), between times, and on as it grows.
//!
//! A blocking thread per reader sends entries through a bounded channel, so a slow client costs a
//! few entries of memory and no more.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dhow_protocol::stream::StreamKind;
use tokio::sync::{mpsc, watch};

use super::StoredLine;
use crate::container::Status;
use crate::time::Timestamp;

/// Entries read ahead of the client.
const READ_AHEAD_ENTRIES: usize = 64;

/// Blocks in which the end of a log is searched for line ends.
const TAIL_BLOCK_BYTES: usize = 64 * 1024;

/// The longest stored line: an entry of 16 KiB with every byte escaped six-fold, and its frame. What
/// is longer was not written by us and is skipped.
const MAX_STORED_LINE_BYTES: u64 = 128 * 1024;

/// What a client wants to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Only the last so many entries.
    pub tail: Option<u64>,
    /// Only entries at or after this.
    pub since: Option<Timestamp>,
    /// Only entries at or before this.
    pub until: Option<Timestamp>,
    /// Go on until the process ends.
    pub follow: bool,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Standard output or standard error.
    pub kind: StreamKind,
    /// When it was written.
    pub time: Timestamp,
    /// The text with its line end.
    pub text: Bytes,
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read log {path}")]
pub struct ReadLogError {
    path: String,
    #[source]
    source: io::Error,
}

/// What a reader needs of a container.
#[derive(Debug)]
pub(crate) struct LogSource {
    pub(crate) path: PathBuf,
    /// Changes when something was written.
    pub(crate) written: watch::Receiver<u64>,
    /// Tells whether more can come.
    pub(crate) status: watch::Receiver<Status>,
}

/// Starts reading; entries come through the receiver until the log ends or the receiver is dropped.
pub(crate) fn read(
    source: LogSource,
    options: LogOptions,
) -> mpsc::Receiver<Result<LogEntry, ReadLogError>> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD_ENTRIES);
    tokio::spawn(async move {
        let path = source.path.clone();
        if let Err(source) = run(source, options, &sender).await {
            let path = path.display().to_string();
            let _client_gone = sender.send(Err(ReadLogError { path, source })).await;
        }
    });
    receiver
}

type EntrySender = mpsc::Sender<Result<LogEntry, ReadLogError>>;

async fn run(mut source: LogSource, options: LogOptions, sender: &EntrySender) -> io::Result<()> {
    let mut position = None;
    loop {
        // Before reading: what is written while we read is seen as a change afterwards.
        source.written.borrow_and_update();
        let active = source.status.borrow_and_update().phase.is_active();
        let (path, options_now, sender_now) =
            (source.path.clone(), options.clone(), sender.clone());
        let read = tokio::task::spawn_blocking(move || {
            read_on(&path, position, &options_now, &sender_now)
        })
        .await
        .map_err(io::Error::other)??;
        match read {
            Progress::To(offset) => position = Some(offset),
            Progress::Done => return Ok(()),
        }
        if !options.follow || !active {
            return Ok(());
        }
        tokio::select! {
            () = sender.closed() => return Ok(()),
            _ = source.written.changed() => {}
            _ = source.status.changed() => {}
            () = past(options.until) => return Ok(()),
        }
    }
}

/// Resolves once `until` has passed; never without one.
async fn past(until: Option<Timestamp>) {
    match until {
        Some(until) => tokio::time::sleep(Timestamp::now().until(until)).await,
        None => std::future::pending().await,
    }
}

enum Progress {
    /// Everything up to this offset was read.
    To(u64),
    /// Nothing further can be wanted.
    Done,
}

/// Reads from `position` (or where the tail begins) to the end of what is written.
fn read_on(
    path: &Path,
    position: Option<u64>,
    options: &LogOptions,
    sender: &EntrySender,
) -> io::Result<Progress> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Progress::To(0)),
        Err(error) => return Err(error),
    };
    let mut offset = match (position, options.tail) {
        (Some(position), _) => position,
        (None, Some(entries)) => tail_offset(&mut file, entries)?,
        (None, None) => 0,
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut reader = BufReader::with_capacity(TAIL_BLOCK_BYTES, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = (&mut reader)
            .take(MAX_STORED_LINE_BYTES)
            .read_until(b'\n', &mut line)?;
        let whole = line.last() == Some(&b'\n');
        let cut = u64::try_from(count).unwrap_or(u64::MAX);
        if !whole && cut < MAX_STORED_LINE_BYTES {
            return Ok(Progress::To(offset));
        }
        offset += cut;
        let Some(entry) = decode(&line) else { continue };
        if options.until.is_some_and(|until| entry.time > until) {
            return Ok(Progress::Done);
        }
        if wanted(&entry, options) && sender.blocking_send(Ok(entry)).is_err() {
            return Ok(Progress::Done);
        }
    }
}

fn wanted(entry: &LogEntry, options: &LogOptions) -> bool {
    let stream = match entry.kind {
        StreamKind::Stdout => options.stdout,
        StreamKind::Stderr => options.stderr,
        StreamKind::Stdin | StreamKind::Exit => false,
    };
    stream && options.since.is_none_or(|since| entry.time >= since)
}

/// A line that is none of ours (a crash cut it) is skipped.
fn decode(line: &[u8]) -> Option<LogEntry> {
    let stored: StoredLine<'_> = serde_json::from_slice(line).ok()?;
    Some(LogEntry {
        kind: stored.stream.kind(),
        time: Timestamp::parse(&stored.time).ok()?,
        text: Bytes::from(stored.log.into_owned()),
    })
}

/// Where the last `entries` lines begin.
fn tail_offset(file: &mut File, entries: u64) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    if entries == 0 {
        return Ok(end);
    }
    let mut block = vec![0; TAIL_BLOCK_BYTES];
    let mut line_ends = 0;
    while end > 0 {
        let length = end.min(TAIL_BLOCK_BYTES as u64);
        let start = end - length;
        let window = &mut block[..usize::try_from(length).expect("at most a block")];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(window)?;
        for (at, byte) in window.iter().enumerate().rev() {
            if *byte != b'\n' {
                continue;
            }
            // The first one met ends the last line; one more than asked for ends the one before.
            line_ends += 1;
            if line_ends > entries {
                return Ok(start + at as u64 + 1);
            }
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::container::{Change, Status};
    use crate::log::LogWriter;

    struct Fixture {
        _directory: tempfile::TempDir,
        log: LogWriter,
        status: watch::Sender<Status>,
    }

    impl Fixture {
        fn with(text: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let log = LogWriter::new(directory.path().join("log.json"));
            log.append(StreamKind::Stdout, text.as_bytes());
            Self {
                _directory: directory,
                log,
                status: watch::channel(Status::default()).0,
            }
        }

        async fn read(&self, options: LogOptions) -> Vec<String> {
            let source = LogSource {
                path: self.log.path().to_owned(),
                written: self.log.progress(),
                status: self.status.subscribe(),
            };
            let mut receiver = read(source, options);
            let mut lines = Vec::new();
            while let Some(entry) = receiver.recv().await {
                lines.push(String::from_utf8(entry.unwrap().text.to_vec()).unwrap());
            }
            lines
        }
    }

    const BOTH: LogOptions = LogOptions {
        stdout: true,
        stderr: true,
        tail: None,
        since: None,
        until: None,
        follow: false,
    };

    #[tokio::test]
    async fn reads_everything_in_order() {
        let fixture = Fixture::with("one\ntwo\n");

        assert_eq!(fixture.read(BOTH).await, ["one\n", "two\n"]);
    }

    #[tokio::test]
    async fn tail_reads_the_last_lines() {
        let fixture = Fixture::with("one\ntwo\nthree\n");
        let tail = |entries| LogOptions {
            tail: Some(entries),
            ..BOTH
        };

        assert_eq!(fixture.read(tail(2)).await, ["two\n", "three\n"]);
        assert_eq!(fixture.read(tail(9)).await.len(), 3);
        assert!(fixture.read(tail(0)).await.is_empty());
    }

    #[tokio::test]
    async fn tail_crosses_blocks() {
        let text: String = (0..5000).map(|number| format!("line {number}\n")).collect();
        let fixture = Fixture::with(&text);
        let options = LogOptions {
            tail: Some(3000),
            ..BOTH
        };

        let lines = fixture.read(options).await;

        assert_eq!(lines.len(), 3000);
        assert_eq!(lines[0], "line 2000\n");
    }

    #[tokio::test]
    async fn streams_are_told_apart() {
        let fixture = Fixture::with("out\n");
        fixture.log.append(StreamKind::Stderr, b"err\n");
        let options = LogOptions {
            stdout: false,
            ..BOTH
        };

        assert_eq!(fixture.read(options).await, ["err\n"]);
    }

    #[tokio::test]
    async fn since_and_until_bound_the_time() {
        let fixture = Fixture::with("now\n");
        let future = Timestamp::from_seconds(Timestamp::now().seconds() + 1000);
        let since = LogOptions {
            since: Some(future),
            ..BOTH
        };
        let until = LogOptions {
            until: Some(Timestamp::from_seconds(1)),
            ..BOTH
        };

        assert!(fixture.read(since).await.is_empty());
        assert!(fixture.read(until).await.is_empty());
    }

    #[tokio::test]
    async fn follow_goes_on_until_the_process_ends() {
        let fixture = Fixture::with("one\n");
        let started = Status::default().after(Change::Start).unwrap();
        fixture.status.send_replace(started.clone());
        let options = LogOptions {
            follow: true,
            ..BOTH
        };

        let read = fixture.read(options);
        let write = async {
            tokio::task::yield_now().await;
            fixture.log.append(StreamKind::Stdout, b"two\n");
            fixture.log.append(StreamKind::Stdout, b"no line end");
            fixture.log.finish();
            fixture.status.send_replace(Status::default());
        };
        let (lines, ()) = tokio::join!(read, write);

        assert_eq!(lines, ["one\n", "two\n", "no line end"]);
    }

    #[tokio::test]
    async fn a_line_cut_by_a_crash_is_skipped() {
        let fixture = Fixture::with("one\n");
        let mut text = fs::read_to_string(fixture.log.path()).unwrap();
        text.insert_str(0, "{\"log\":\"ha\n");
        fs::write(fixture.log.path(), text).unwrap();

        assert_eq!(fixture.read(BOTH).await, ["one\n"]);
    }
}
