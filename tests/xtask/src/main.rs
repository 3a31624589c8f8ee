//! `cargo xtask`: the one developer entry point. This file only says which commands there are; each
//! lives in the module of its name.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use dhow_xtask::{bench, demo, dist, kernel, prepush, report, setup, test};

/// Build, check and test dhow.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install the Debian packages that everything below needs (as root), or say the exact line
    Setup,
    /// Build the guest kernels into the cache and print where they are
    Kernel {
        /// Which kernel
        #[arg(long, value_enum, default_value_t = kernel::Selection::All)]
        arch: kernel::Selection,
    },
    /// Build the kernels, `dhow` and the agent, and lay them out as users get them: target/dhow/
    Build,
    /// From a fresh machine to a web server in a container that answers through a published port
    Demo,
    /// Measure what docs/spec.md promises, beside its peers
    Bench {
        /// Names of benchmarks, and options: --rounds N, --json, --list
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// What must hold before a push: format, lints, fast tests, style
    Prepush,
    /// Everything: packages, kernels, build, then every test of the workspace
    Test {
        /// Arguments for `cargo test`, such as a test's name
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Setup => setup::run(),
        Command::Kernel { arch } => kernel::run(arch),
        Command::Build => dist::run(),
        Command::Demo => demo::run(),
        Command::Bench { arguments } => bench::run(&arguments),
        Command::Prepush => prepush::run(),
        Command::Test { arguments } => test::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
