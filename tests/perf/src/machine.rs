//! The machine that the benchmarks ran on, in a line: a figure means nothing without it.

use std::fs;
use std::thread;

/// Processor, number of CPUs, kernel.
#[must_use]
pub fn describe() -> String {
    let cpus = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cpus} × {}, Linux {}", processor(), kernel.trim())
}

/// The load averages of 1, 5 and 15 minutes.
#[must_use]
pub fn load() -> String {
    let text = read("/proc/loadavg");
    text.split_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}

fn processor() -> String {
    let text = read("/proc/cpuinfo");
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(
        || "unknown processor".to_owned(),
        |(_, name)| name.trim().to_owned(),
    )
}

/// A file's text; nothing where it cannot be read, as on hosts without `/proc`.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
