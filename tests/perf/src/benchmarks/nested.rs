//! Our VMM and QEMU's microvm side by side on a real kvm-amd, inside QEMU's emulation of one. The
//! crate in `tests/nested` measures; its line with the figures is read here.

use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::figures::Pairs;
use crate::stage::distributed;

/// How the line of a round begins: `run 1: ours 712 ms, microvm 1503 ms, ratio 0.47`.
const ROUND: &str = "run ";

pub(super) fn measure(_rounds: usize) -> anyhow::Result<Pairs> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["test", "--quiet", "--package", "dhow-nested-tests"])
        .args(["--bench", "startup"])
        .env("DHOW_VMLINUX", distributed("lib/dhow/vmlinux"))
        .stdin(Stdio::null())
        .output()
        .context("failed to start cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().last().unwrap_or_default().to_owned();
        bail!("tests/nested failed: {last}");
    }
    let pairs = read(&text);
    pairs.context("tests/nested printed no figures")
}

/// The figures of every round.
fn read(text: &str) -> Option<Pairs> {
    let rounds: Vec<(f64, f64)> = text.lines().filter_map(round).collect();
    if rounds.is_empty() {
        return None;
    }
    let (ours, peer): (Vec<f64>, Vec<f64>) = rounds.into_iter().unzip();
    Some(Pairs {
        ours: ours.into(),
        peer: peer.into(),
        peer_missing: None,
    })
}

fn round(line: &str) -> Option<(f64, f64)> {
    let (_number, figures) = line.trim().strip_prefix(ROUND)?.split_once(": ")?;
    let seconds = |name: &str| {
        let (_, rest) = figures.split_once(name)?;
        let milliseconds: f64 = rest.split_whitespace().next()?.parse().ok()?;
        Some(milliseconds / 1e3)
    };
    Some((seconds("ours ")?, seconds("microvm ")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_figures_of_every_round() {
        let text = "running 1 test\n\
                    run 1: ours 700 ms, microvm 1400 ms, ratio 0.50\n\
                    run 2: ours 800 ms, microvm 1000 ms, ratio 0.80\n\
                    start_to_userspace: ours 800 ms, microvm 1400 ms, ratio 0.57 (from 0.50 to 0.80)\n";

        let pairs = read(text).expect("figures");

        assert_eq!(pairs.ours.all(), [0.7, 0.8]);
        assert_eq!(pairs.peer.all(), [1.4, 1.0]);
    }

    #[test]
    fn no_figures_are_no_success() {
        assert_eq!(read("test result: ok. 0 passed"), None);
    }
}
