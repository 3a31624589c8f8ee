//! The traffic that benchmarks send through a port: the conversation, and the side that measures.
//!
//! The other side is `dhow-traffic`, a static program: in a container behind a published port, and
//! as PID 1 of the peer's machine. A client's first byte says what it wants:
//!
//! - [`UPLOAD`]: it sends until it closes its sending side; the server answers with the number of
//!   bytes it received, a little-endian `u64`. So the figure counts only what arrived.
//! - [`DOWNLOAD`]: the server sends until the client is gone.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

/// The client sends.
pub const UPLOAD: u8 = b'u';

/// The client receives.
pub const DOWNLOAD: u8 = b'd';

/// What one read or write carries, on both sides: what `cat` and `cp` use.
pub const BUFFER_BYTES: usize = 128 << 10;

/// Printed by the server once it listens.
pub const LISTENING: &str = "traffic: listening";

/// Printed before and after work that keeps a CPU busy.
pub const BEGIN: &str = "traffic: begin";

/// See [`BEGIN`].
pub const END: &str = "traffic: end";

/// How long a stream may stand still before the benchmark fails.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the host.
    In,
    /// To the host.
    Out,
}

/// Keeps `streams` connections busy for `duration`; returns bytes a second over all of them.
///
/// # Errors
/// Where a connection fails, or not a byte arrives.
pub fn measure(
    server: SocketAddr,
    direction: Direction,
    streams: usize,
    duration: Duration,
) -> anyhow::Result<f64> {
    let mut connections = Vec::new();
    for _ in 0..streams {
        connections.push(connect(server)?);
    }
    let begin = Instant::now();
    let workers: Vec<_> = connections
        .into_iter()
        .map(|stream| {
            thread::spawn(move || match direction {
                Direction::In => upload(stream, begin + duration),
                Direction::Out => download(stream, begin + duration),
            })
        })
        .collect();
    let mut total = 0;
    for worker in workers {
        total += worker.join().expect("a worker does not panic")?;
    }
    ensure!(total > 0, "not a byte arrived");
    #[expect(
        clippy::cast_precision_loss,
        reason = "a byte more or less in 2^53 is no matter"
    )]
    Ok(total as f64 / begin.elapsed().as_secs_f64())
}

fn connect(server: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream =
        TcpStream::connect(server).with_context(|| format!("failed to connect to {server}"))?;
    stream.set_read_timeout(Some(STALL_TIMEOUT))?;
    stream.set_write_timeout(Some(STALL_TIMEOUT))?;
    Ok(stream)
}

fn upload(mut stream: TcpStream, end: Instant) -> anyhow::Result<u64> {
    let buffer = vec![UPLOAD; BUFFER_BYTES];
    while Instant::now() < end {
        stream.write_all(&buffer).context("failed to send")?;
    }
    stream
        .shutdown(Shutdown::Write)
        .context("failed to end the sending side")?;
    let mut count = [0; size_of::<u64>()];
    stream
        .read_exact(&mut count)
        .context("failed to read how much arrived")?;
    Ok(u64::from_le_bytes(count))
}

fn download(mut stream: TcpStream, end: Instant) -> anyhow::Result<u64> {
    stream.write_all(&[DOWNLOAD]).context("failed to ask")?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut total = 0;
    while Instant::now() < end {
        let count = stream.read(&mut buffer).context("failed to receive")?;
        ensure!(count > 0, "the server hung up");
        total += count as u64;
    }
    Ok(total)
}
