//! Standard input, read by a thread of its own.
//!
//! A terminal or a pipe shared with other programs must not be made non-blocking, and a file cannot
//! be waited for; a plain thread reads all of them. The program may end while it is still reading.

use std::io::{self, Read};
use std::path::Path;
use std::thread;

use bytes::Bytes;
use tokio::sync::mpsc;

/// Largest piece read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Pieces read ahead of whoever takes them.
const QUEUED_PIECES: usize = 4;

/// Reads standard input; the end of the channel is its end.
pub(crate) fn standard_input() -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(QUEUED_PIECES);
    thread::spawn(move || pump(io::stdin().lock(), &sender));
    receiver
}

/// Reads standard input into a channel that somebody else made.
pub(crate) fn standard_input_into(sender: mpsc::Sender<io::Result<Bytes>>) {
    thread::spawn(move || pump(io::stdin().lock(), &sender));
}

/// Reads a file into a channel.
pub(crate) fn file_into(path: &Path, sender: mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let file = std::fs::File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    thread::spawn(move || pump(file, &sender));
    Ok(())
}

fn pump(mut source: impl Read, sender: &mpsc::Sender<io::Result<Bytes>>) {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let piece = match source.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => Ok(Bytes::copy_from_slice(&buffer[..length])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = piece.is_err();
        if sender.blocking_send(piece).is_err() || failed {
            return;
        }
    }
}
