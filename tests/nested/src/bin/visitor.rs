//! What a user of the outer guest does besides running dhow.
//!
//! `visitor get ADDRESS PATH` prints what a web server answers; `visitor alone NAME` waits until no
//! process of that name runs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How long a server may take to answer, and a process to end.
const LIMIT: Duration = Duration::from_secs(30);
/// How often it is looked again.
const POLL: Duration = Duration::from_millis(50);
/// Most of an answer that is printed.
const ANSWER_BYTES: u64 = 64 << 10;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["get", address, path] => get(address, path),
        ["alone", name] => wait_for_end(name),
        _ => bail!("usage: visitor get ADDRESS PATH | visitor alone NAME"),
    }
}

/// Asks until there is an answer: a server in a container starts after its container.
#[expect(
    clippy::print_stdout,
    reason = "the output is read by the step that ran this"
)]
fn get(address: &str, path: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        match answer(address, path) {
            Ok(text) if !text.is_empty() => {
                println!("{text}");
                return Ok(());
            }
            Ok(_) if Instant::now() >= deadline => bail!("{address} answered nothing"),
            Err(error) if Instant::now() >= deadline => return Err(error),
            _ => thread::sleep(POLL),
        }
    }
}

fn answer(address: &str, path: &str) -> anyhow::Result<String> {
    let mut stream =
        TcpStream::connect(address).with_context(|| format!("failed to connect to {address}"))?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").context("failed to ask")?;
    let mut bytes = Vec::new();
    stream
        .take(ANSWER_BYTES)
        .read_to_end(&mut bytes)
        .context("failed to read the answer")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn wait_for_end(name: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let left = running(name)?;
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("still there: {left:?}");
        }
        thread::sleep(POLL);
    }
}

/// The command lines of processes of this name. One that has ended has none any more.
fn running(name: &str) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let folder = entry?.path();
        let Ok(found) = fs::read_to_string(folder.join("comm")) else {
            continue;
        };
        let line = fs::read_to_string(folder.join("cmdline")).unwrap_or_default();
        if found.trim_end() == name && !line.is_empty() {
            lines.push(line.replace('\0', " "));
        }
    }
    Ok(lines)
}
