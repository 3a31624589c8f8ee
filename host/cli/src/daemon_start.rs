//! Reaches the daemon, starting one when none answers.
//!
//! The socket is tried first; that is all a warm command pays. If nobody answers, `start.lock`
//! makes one of several commands start the daemon while the others wait for the lock and try
//! again. Readiness comes over a pipe, which is the daemon's standard output until it redirects
//! that to its log: no polling, and end-of-file at once if it dies.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use dhow_api::NOTICES_HEADER;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout};

use crate::failure::Failure;
use crate::output;
use crate::paths::Paths;

/// What the daemon writes once it accepts connections.
pub(crate) const READY: &str = "ready\n";

/// How long a daemon may take until it accepts connections. Booting the machine is not part of it.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// Lines of the daemon's log shown when it does not come up.
const LOG_TAIL_LINES: usize = 8;

/// How the line begins in which a daemon that gives up says why.
const OWN_WORDS: &str = "dhow: ";

/// Bytes of the log looked at for those lines.
const LOG_TAIL_BYTES: u64 = 8 * 1024;

/// A connection to this home's daemon.
#[derive(Debug)]
pub(crate) struct Reached {
    /// The connection.
    pub(crate) stream: UnixStream,
    /// The daemon may have something to tell.
    pub(crate) has_news: bool,
}

/// Connects to this home's daemon.
pub(crate) fn connect(paths: &Paths) -> Result<Reached, Failure> {
    let socket = paths.socket();
    if let Ok(reached) = greet(&socket) {
        return Ok(reached);
    }
    // Whoever holds it starts a daemon within READY_TIMEOUT or gives up; the kernel frees it when
    // the holder dies.
    let _lock = lock(&paths.start_lock(), FlockArg::LockExclusive)?;
    let died = match greet(&socket) {
        Ok(reached) => return Ok(reached),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        // It is leaving or dying. Once its lock is free it has gone, and only one that left in good
        // order has taken its socket away.
        Err(_) => {
            drop(lock(&paths.daemon_lock(), FlockArg::LockExclusive)?);
            socket.exists()
        }
    };
    start(paths)?;
    if died {
        output::note("note: the daemon had been killed or had crashed; a new one was started");
    }
    let stream = UnixStream::connect(&socket).with_context(|| {
        format!(
            "failed to connect to the new daemon at {}",
            socket.display()
        )
    })?;
    Ok(Reached {
        stream,
        has_news: true,
    })
}

fn lock(path: &Path, how: FlockArg) -> Result<Flock<File>, Failure> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("failed to open {}", path.display()))?;
    let locked = Flock::lock(file, how).map_err(|(_, errno)| errno);
    Ok(locked.with_context(|| format!("failed to lock {}", path.display()))?)
}

/// The cheapest request there is, and all of its answer's body.
const PING: &[u8] = b"GET /_ping HTTP/1.1\r\nHost: dhow\r\n\r\n";
const PONG: &[u8] = b"\r\n\r\nOK";

/// The most bytes an answer to a ping may have.
const MAX_PONG_BYTES: usize = 4096;

/// How long a daemon may take to answer a ping. A live one needs less than a millisecond; a loaded
/// host may need more, and past this it is taken for hung.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects and has the daemon say that it lives: one that is being killed still accepts
/// connections, and a request sent to it would be lost.
fn greet(socket: &Path) -> io::Result<Reached> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PING_TIMEOUT))?;
    stream.write_all(PING)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 512];
    while !answer.ends_with(PONG) {
        let length = stream.read(&mut buffer)?;
        answer.extend_from_slice(&buffer[..length]);
        if length == 0 || answer.len() > MAX_PONG_BYTES {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    }
    stream.set_read_timeout(None)?;
    Ok(Reached {
        stream,
        has_news: String::from_utf8_lossy(&answer).contains(NOTICES_HEADER),
    })
}

/// Whether a daemon answers right now; starts nothing.
pub(crate) fn is_running(paths: &Paths) -> bool {
    UnixStream::connect(paths.socket()).is_ok()
}

fn start(paths: &Paths) -> Result<(), Failure> {
    let program = std::env::current_exe().context("failed to find our own program file")?;
    let log_path = paths.daemon_log();
    let log = File::options()
        .create(true)
        .append(true)
        .open(&log_path)
        .with_context(|| format!("failed to open {}", log_path.display()))?;
    let log_start = log.metadata().map(|metadata| metadata.len()).unwrap_or(0);
    let mut child = Command::new(program)
        .args(["daemon", "--detached"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("failed to start the daemon")?;
    match wait_until_ready(&mut child) {
        Ok(()) => Ok(()),
        Err(reason) => {
            // Not left behind half-started: the next command must find a clean slate.
            let _already_gone = child.kill();
            let _reaped = child.wait();
            let mut tail = log_tail(&log_path, log_start);
            let own_words = tail.iter().rposition(|line| line.starts_with(OWN_WORDS));
            let cause = own_words.map_or(reason, |position| {
                let rest = tail.split_off(position);
                rest[0][OWN_WORDS.len()..].to_owned()
            });
            for line in &tail {
                output::note(&format!("daemon: {line}"));
            }
            Err(Failure::new(format!("the daemon did not start: {cause}"))
                .hint(format!("see {}, or run `dhow doctor`", log_path.display())))
        }
    }
}

fn wait_until_ready(child: &mut Child) -> Result<(), String> {
    let mut pipe = child.stdout.take().expect("stdout was piped above");
    let deadline = Instant::now() + READY_TIMEOUT;
    let mut said = Vec::new();
    let mut buffer = [0; 512];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut descriptors = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        match nix::poll::poll(&mut descriptors, timeout) {
            Ok(0) => return Err(format!("not ready after {} s", READY_TIMEOUT.as_secs())),
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(format!("failed to wait for it: {errno}")),
        }
        match pipe.read(&mut buffer) {
            Ok(0) => return Err("it ended at once".to_owned()),
            Ok(length) => said.extend_from_slice(&buffer[..length]),
            Err(error) => return Err(format!("failed to hear from it: {error}")),
        }
        if said.ends_with(READY.as_bytes()) {
            return Ok(());
        }
    }
}

/// The last lines written since the daemon was started.
fn log_tail(path: &Path, start: u64) -> Vec<String> {
    let Ok(bytes) = fs::read(path) else {
        return Vec::new();
    };
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let from = start.min(length).max(length.saturating_sub(LOG_TAIL_BYTES));
    let from = usize::try_from(from).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[from..]).into_owned();
    let lines: Vec<String> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(str::to_owned)
        .collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::log_tail;

    #[test]
    fn only_what_this_start_has_said_is_shown() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = folder.path().join("daemon.log");
        std::fs::write(&log, "old\nnew 1\n\nnew 2\n").expect("a log");
        assert_eq!(log_tail(&log, 4), ["new 1", "new 2"]);
    }

    #[test]
    fn a_missing_log_says_nothing() {
        assert!(log_tail(std::path::Path::new("/nowhere/log"), 0).is_empty());
    }
}
