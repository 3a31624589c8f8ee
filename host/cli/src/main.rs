//! `dhow`: the command line, and the hidden faces behind it.
//!
//! Three layers: `args` is what was typed, `resolve` what it means, `verbs` does it. `context` finds
//! the daemon and `daemon_start` starts one; `terminal` and `output` are our ends of the streams;
//! `credentials` are Docker's.

mod args;
mod context;
mod credentials;
mod daemon_start;
mod doctor;
mod faces;
mod failure;
mod output;
mod paths;
mod resolve;
mod terminal;
mod verbs;

use std::io::Write;
use std::process::ExitCode;

use crate::args::Cli;
use crate::context::Context;
use crate::failure::{Failure, OUR_FAULT, SIGNAL_BASE};

/// Number of the signal that ends a program whose output nobody reads (signal(7)).
const SIGPIPE: u8 = 13;

fn main() -> ExitCode {
    terminal::raw::restore_on_panic();
    let cli = match parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let outcome =
        Context::new(cli.host.as_deref()).and_then(|context| verbs::dispatch(cli.verb, &context));
    terminal::raw::restore();
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => tell(&failure),
    }
}

/// Reads the command line; help and mistakes are printed here.
fn parse() -> Result<Cli, ExitCode> {
    let line: Vec<_> = std::env::args_os().collect();
    args::parse(line).map_err(|error| match args::mistake(&error) {
        Some(mistake) => tell(&mistake.code(OUR_FAULT)),
        None => {
            let _unreadable = error.print();
            ExitCode::SUCCESS
        }
    })
}

fn tell(failure: &Failure) -> ExitCode {
    if failure.is_closed_output() {
        return ExitCode::from(SIGNAL_BASE + SIGPIPE);
    }
    output::note(&failure.line());
    if let Some(hint) = failure.advice() {
        let _unreadable = writeln!(std::io::stderr(), "hint: {hint}");
    }
    ExitCode::from(failure.exit_code())
}
