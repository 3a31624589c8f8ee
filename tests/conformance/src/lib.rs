//! What the tests in `tests/` share: programs that must be here, terminals, web
//! requests, and waiting for something that takes a moment.

pub mod python;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use dhow_harness::{BUSYBOX, Finished, Home, Running};

/// What a test waits for must have happened by then.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(50);

/// Makes sure that a program can be started here.
///
/// # Panics
/// Where it cannot: a test that quietly tests nothing would be worse than none.
#[track_caller]
pub fn need(program: &str) {
    let found = Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    assert!(found, "no {program}: run `cargo xtask setup`");
}

/// A home with busybox, for tests that the docker CLI drives.
///
/// # Panics
/// Where there is no docker CLI.
#[must_use]
#[track_caller]
pub fn docker_home() -> Home {
    need("docker");
    Home::with_image(BUSYBOX)
}

/// Runs a shell's command line on a terminal of 33 rows and 99 columns, typing each word after a
/// pause.
#[must_use]
#[track_caller]
pub fn on_terminal(home: &Home, line: &str, typed: &[&[u8]]) -> Finished {
    let line = format!("stty rows 33 cols 99; {line}");
    let mut running = Running::start(&mut home.client("script", &["-qec", &line, "/dev/null"]));
    let mut keyboard = running.stdin().expect("a fresh child");
    for word in typed {
        thread::sleep(Duration::from_millis(700));
        // A program that ended early shows in its exit code.
        let _ = keyboard.write_all(word);
    }
    thread::sleep(Duration::from_millis(700));
    drop(keyboard);
    running.wait()
}

/// Waits until `look` finds something.
///
/// # Panics
/// Where it does not within a minute.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited for {what}");
        thread::sleep(INTERVAL);
    }
}

/// The host port behind a container's port.
#[must_use]
#[track_caller]
pub fn host_port(home: &Home, container: &str, port: &str) -> u16 {
    let printed = home.dhow(&["port", container, port]).succeed();
    let (_, number) = printed.text().rsplit_once(':').expect("ADDRESS:PORT");
    number.parse().expect("a port")
}

/// Sends a request to a port on loopback and returns the whole answer; nothing where the connection
/// fails.
#[must_use]
pub fn ask(port: u16, request: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    stream.write_all(request).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Now as seconds and nanoseconds: the docker CLI would cut `0s` to the whole second.
#[must_use]
pub fn now() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}
