//! A daemon of canned answers, so that the command line can be tested without a machine.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// Answers requests whose line starts with a prefix, such as `POST /v1.44/containers/create`.
pub(crate) type Answers = &'static [(&'static str, Answer)];

/// What a request is answered with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// A status line's end and a JSON body.
    Json(&'static str, &'static str),
    /// The connection as a stream that says this and ends.
    Stream(&'static [u8]),
    /// Nothing, ever.
    Silence,
}

/// The fake daemon and what it was asked.
#[derive(Debug)]
pub(crate) struct FakeDaemon {
    folder: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl FakeDaemon {
    /// Starts answering.
    pub(crate) fn start(answers: Answers) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listener = UnixListener::bind(folder.path().join("api.sock")).expect("a socket");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let log = Arc::clone(&log);
                thread::spawn(move || converse(stream, answers, &log));
            }
        });
        Self { folder, asked }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("api.sock")
    }

    /// The command line, talking to this daemon.
    pub(crate) fn dhow(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dhow"));
        command
            .args(arguments)
            .env("DHOW_HOST", format!("unix://{}", self.socket().display()))
            .env("DHOW_HOME", self.folder.path())
            .env("DOCKER_CONFIG", self.folder.path().join("docker-config"))
            .stdin(Stdio::null());
        command
    }

    /// The request lines so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no thread panicked").clone()
    }

    /// Waits until a request that starts so has come.
    pub(crate) fn wait_for(&self, prefix: &str) {
        while !self.asked().iter().any(|line| line.starts_with(prefix)) {
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

fn converse(mut stream: UnixStream, answers: Answers, log: &Mutex<Vec<String>>) {
    while let Some(line) = read_request(&mut stream) {
        let answer = answers
            .iter()
            .find(|(prefix, _)| line.starts_with(prefix))
            .map(|(_, a)| *a);
        log.lock().expect("no thread panicked").push(line);
        match answer.unwrap_or(Answer::Json(
            "404 Not Found",
            "{\"message\":\"no canned answer\"}",
        )) {
            Answer::Json(status, body) => {
                let length = body.len();
                let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
                if stream.write_all(text.as_bytes()).is_err() {
                    return;
                }
            }
            Answer::Stream(bytes) => {
                let head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
                let _client_gone = stream
                    .write_all(head)
                    .and_then(|()| stream.write_all(bytes));
                return;
            }
            Answer::Silence => {
                let _client_gone = stream.read(&mut [0]);
                return;
            }
        }
    }
}

/// Reads a request with its body; its first line, or nothing at the end of the connection.
fn read_request(stream: &mut UnixStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    stream.read_exact(&mut vec![0; length]).ok()?;
    head.lines().next().map(str::to_owned)
}
