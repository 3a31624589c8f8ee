//! `dhow-bench [NAME…]`: measures, and prints the table of `docs/spec.md` with today's figures.
//!
//! `cargo xtask bench` builds what it needs and starts it.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser;
use dhow_perf::benchmarks::{self, Benchmark};
use dhow_perf::{machine, table};

/// Measure what dhow promises, beside its peers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Benchmarks to run, by the beginning of their names; by default all
    names: Vec<String>,
    /// How often each side is measured; by default as the benchmark needs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Only say which benchmarks there are
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let chosen = match benchmarks::select(&arguments.names) {
        Ok(chosen) => chosen,
        Err(unknown) => {
            tell(&format!(
                "error: no benchmark's name begins with \"{unknown}\""
            ));
            return ExitCode::FAILURE;
        }
    };
    let printed = if arguments.list {
        list(&chosen)
    } else {
        measure(&chosen, &arguments)
    };
    match std::io::stdout().write_all(printed.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_closed) => ExitCode::FAILURE,
    }
}

fn list(chosen: &[Benchmark]) -> String {
    let lines = chosen
        .iter()
        .map(|benchmark| format!("{:12} {}\n", benchmark.name, benchmark.what));
    lines.collect()
}

fn measure(chosen: &[Benchmark], arguments: &Arguments) -> String {
    let before = machine::load();
    let rounds = arguments.rounds.map(usize::from);
    let rows: Vec<_> = chosen
        .iter()
        .map(|benchmark| {
            tell(&format!("measuring {}: {}", benchmark.name, benchmark.what));
            benchmark.run(rounds)
        })
        .collect();
    let ran_on = format!(
        "{}, load {before} before, {} after",
        machine::describe(),
        machine::load()
    );
    if arguments.json {
        return format!("{:#}\n", table::json(&ran_on, &rows));
    }
    let gap = if std::io::stdout().is_terminal() {
        "\n"
    } else {
        ""
    };
    format!("{gap}{}{ran_on}\n", table::text(&rows))
}

/// Says a line about progress, apart from the result.
#[expect(clippy::print_stderr, reason = "progress is for the person who waits")]
fn tell(line: &str) {
    eprintln!("{line}");
}
