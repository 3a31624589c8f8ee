//! Work that needs a CPU and nothing else: in a container, and by the same program on the host.
//! Timed from a line that the program prints to the next, so no start of anything is in it.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};

use crate::figures::{Pairs, alternate};
use crate::stage::{Dhow, TRAFFIC_IMAGE, TRAFFIC_PATH, traffic_program};
use crate::traffic::{BEGIN, END};

/// How long the work should take on the host, in seconds.
const TARGET_SECONDS: f64 = 2.5;

/// Units of work to find out what one costs.
const TRIAL_UNITS: u32 = 30;

pub(super) fn measure(rounds: usize) -> anyhow::Result<Pairs> {
    let dhow = Dhow::with_traffic()?;
    let program = traffic_program()?;
    let native = |units: &str| {
        let mut command = Command::new(&program);
        command.args(["compute", units]);
        between_lines(&mut command)
    };
    let trial = native(&TRIAL_UNITS.to_string())?;
    let units = format!("{:.0}", TARGET_SECONDS / trial * f64::from(TRIAL_UNITS));
    let run = [
        "run",
        "--rm",
        TRAFFIC_IMAGE,
        TRAFFIC_PATH,
        "compute",
        &units,
    ];
    alternate(
        rounds,
        || between_lines(&mut dhow.command(&run)),
        || native(&units),
    )
}

/// Seconds between the line before the work and the line after it.
fn between_lines(command: &mut Command) -> anyhow::Result<f64> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to start the work")?;
    let output = child.stdout.take().expect("standard output is piped above");
    let (mut begin, mut seconds) = (None, None);
    for line in BufReader::new(output).lines() {
        match line?.as_str() {
            BEGIN => begin = Some(Instant::now()),
            END => seconds = begin.map(|begin: Instant| begin.elapsed().as_secs_f64()),
            _ => {}
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "the work failed ({status})");
    seconds.context("the work did not say when it began and ended")
}
