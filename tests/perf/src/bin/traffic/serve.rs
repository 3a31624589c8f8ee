//! A server with a thread for each connection.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use anyhow::Context as _;
use dhow_perf::traffic::{BUFFER_BYTES, DOWNLOAD, LISTENING, UPLOAD};

/// Serves until it is killed.
pub(crate) fn serve(port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .with_context(|| format!("failed to listen on port {port}"))?;
    crate::say(LISTENING)?;
    for stream in listener.incoming() {
        let stream = stream.context("failed to accept")?;
        // A client that breaks off ends its own conversation only.
        thread::spawn(move || drop(converse(stream)));
    }
    Ok(())
}

fn converse(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut received = stream.read(&mut buffer)?;
    if received == 0 {
        return Ok(());
    }
    if buffer[0] == DOWNLOAD {
        loop {
            stream.write_all(&buffer)?;
        }
    }
    debug_assert_eq!(buffer[0], UPLOAD, "there are two kinds of clients");
    let mut total = 0;
    while received > 0 {
        total += received as u64;
        received = stream.read(&mut buffer)?;
    }
    stream.write_all(&total.to_le_bytes())
}
