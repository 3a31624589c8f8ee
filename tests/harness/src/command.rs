//! Commands with a bound on their time, and what they printed.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A command still running after this is killed and fails its test.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What a command left.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The command line, for messages.
    pub line: String,
    /// Its exit code, or 128 + the signal's number.
    pub code: i32,
    /// Its standard output, invalid UTF-8 replaced.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
}

impl Finished {
    /// The same, where the exit code is 0.
    ///
    /// # Panics
    /// With everything the command printed, where it is not.
    #[must_use]
    #[track_caller]
    pub fn succeed(self) -> Self {
        self.exit(0)
    }

    /// The same, where the exit code is this one.
    ///
    /// # Panics
    /// With everything the command printed, where it is not.
    #[must_use]
    #[track_caller]
    pub fn exit(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "`{}`\n--- stdout\n{}--- stderr\n{}",
            self.line, self.stdout, self.stderr
        );
        self
    }

    /// Standard output without white space around it.
    #[must_use]
    pub fn text(&self) -> &str {
        self.stdout.trim()
    }
}

/// A command that was started and not yet waited for.
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Child,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
}

impl Running {
    /// Starts a command with piped standard streams.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let line = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        let stdout = collect(child.stdout.take().expect("piped above"));
        let stderr = collect(child.stderr.take().expect("piped above"));
        Self {
            line,
            child,
            stdout,
            stderr,
        }
    }

    /// Its standard input, to write to or to close.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end, closing its standard input first.
    ///
    /// # Panics
    /// Where it takes longer than two minutes: it is killed then.
    #[must_use]
    #[track_caller]
    pub fn wait(mut self) -> Finished {
        use std::os::unix::process::ExitStatusExt;
        drop(self.child.stdin.take());
        let id = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let (done, waiter) = mpsc::channel::<()>();
        let guard = thread::spawn(move || {
            let late = waiter.recv_timeout(TIMEOUT) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                // Gone already is fine.
                let _ = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGKILL);
            }
            late
        });
        let status = self.child.wait().expect("our own child");
        drop(done);
        let late = guard.join().expect("the guard does not panic");
        let finished = Finished {
            line: self.line,
            code: status
                .code()
                .or(status.signal().map(|signal| 128 + signal))
                .unwrap_or(-1),
            stdout: self.stdout.join().expect("the reader does not panic"),
            stderr: self.stderr.join().expect("the reader does not panic"),
        };
        assert!(!late, "still running after {TIMEOUT:?}: {finished:?}");
        finished
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is all there is to show.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Runs a command to its end, feeding it `input`.
///
/// # Panics
/// As [`Running::start`] and [`Running::wait`].
#[must_use]
#[track_caller]
pub fn run(command: &mut Command, input: &[u8]) -> Finished {
    let mut running = Running::start(command);
    let mut stdin = running.stdin().expect("piped by start");
    let input = input.to_vec();
    // A command that does not read its input must not block the test; a broken pipe is its choice.
    let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
    let finished = running.wait();
    feeder.join().expect("the feeder does not panic");
    finished
}
