//! `dhow completion`.

use std::io::{self, Write};

use clap_complete::Shell;

use crate::args::help;
use crate::args::system::{CompletionArgs, CompletionShell};
use crate::failure::Outcome;

/// `dhow completion`.
pub(crate) fn completion(args: &CompletionArgs) -> Outcome {
    let shell = match args.shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut help::command(), "dhow", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(0)
}
