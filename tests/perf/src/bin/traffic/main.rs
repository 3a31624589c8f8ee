//! `dhow-traffic`: the application of the benchmarks, a static program without needs.
//!
//! ```text
//! dhow-traffic serve PORT         takes and sends bytes on a TCP port
//! dhow-traffic compute UNITS      keeps one CPU busy with a fixed amount of work
//! /init                           as the only program of a machine: brings the network card up,
//!                                 then serves
//! ```

mod compute;
mod network;
mod serve;

use std::io::Write as _;

use anyhow::{Context as _, bail};
use dhow_perf::peer::qemu::GUEST_PORT;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", port] => serve::serve(number(port)?),
        ["compute", units] => compute::compute(number(units)?),
        // The kernel passes only words that it does not know itself.
        [] => {
            network::bring_up().context("failed to bring the network up")?;
            serve::serve(GUEST_PORT)
        }
        _ => bail!("usage: dhow-traffic serve PORT | compute UNITS"),
    }
}

fn number<N: std::str::FromStr>(word: &str) -> anyhow::Result<N> {
    match word.parse() {
        Ok(number) => Ok(number),
        Err(_) => bail!("{word} is not such a number"),
    }
}

/// Says a line at once: whoever waits for it measures.
fn say(line: &str) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(format!("{line}\n").as_bytes())?;
    output.flush()
}
