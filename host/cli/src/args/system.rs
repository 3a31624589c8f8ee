//! Verbs about dhow itself.

use clap::{Args, Subcommand, ValueEnum};

/// `dhow info` and `dhow version`.
#[derive(Debug, Args)]
pub(crate) struct FormatArgs {
    /// json, or a Go template
    #[arg(short, long)]
    pub(crate) format: Option<String>,
}

/// `dhow machine …`.
#[derive(Debug, Subcommand)]
pub(crate) enum MachineVerb {
    /// Boot the machine, unless it runs
    Up,
    /// Stop all containers and the machine
    Down {
        /// Also when containers run
        #[arg(short, long)]
        force: bool,
    },
    /// Show whether it runs, and on what
    Status {
        /// json, or a Go template
        #[arg(short, long)]
        format: Option<String>,
    },
    /// Remove its data disk, and with it the files of all containers and volumes
    Rm {
        /// Also when it runs
        #[arg(short, long)]
        force: bool,
    },
}

/// `dhow doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `dhow env`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  eval \"$(dhow env)\"          bash, zsh and alike\n  \
    dhow env | source           fish"
)]
pub(crate) struct EnvArgs {
    /// Whose syntax to use; by default that of $SHELL
    #[arg(long)]
    pub(crate) shell: Option<EnvShell>,
    /// Print the setting that takes it back
    #[arg(short, long)]
    pub(crate) unset: bool,
}

/// Shells that differ in how a variable is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EnvShell {
    /// sh and its relatives.
    #[value(aliases = ["bash", "zsh", "dash", "ksh"])]
    Sh,
    /// fish.
    Fish,
    /// PowerShell.
    #[value(alias = "pwsh")]
    Powershell,
}

/// `dhow completion`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    dhow completion bash > ~/.local/share/bash-completion/completions/dhow")]
pub(crate) struct CompletionArgs {
    /// The shell
    pub(crate) shell: CompletionShell,
}

/// Shells we complete for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompletionShell {
    /// bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// `dhow daemon`.
#[derive(Debug, Args)]
pub(crate) struct DaemonArgs {
    /// Leave the terminal; report readiness on standard output, then write to the log
    #[arg(long, hide = true)]
    pub(crate) detached: bool,

    /// What else to do with it.
    #[command(subcommand)]
    pub(crate) verb: Option<DaemonVerb>,
}

/// `dhow daemon …`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum DaemonVerb {
    /// Stop all containers, the machine and the daemon
    Stop,
}

/// `dhow vmm`.
#[derive(Debug, Args)]
pub(crate) struct VmmArgs {
    /// Only try KVM, and print as JSON what is wrong with it
    #[arg(long)]
    pub(crate) probe: bool,
}

/// `dhow login`.
#[derive(Debug, Args)]
#[command(
    after_help = "The login is kept where Docker keeps it, in ~/.docker/config.json or with a \
    credential helper.\n\nExample:\n  dhow login -u me --password-stdin registry.example < token"
)]
pub(crate) struct LoginArgs {
    /// User name
    #[arg(short, long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Password; others can see it here
    #[arg(
        short,
        long,
        value_name = "PASSWORD",
        conflicts_with = "password_stdin"
    )]
    pub(crate) password: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// The registry, such as localhost:5000; Docker Hub when not given
    #[arg(value_name = "SERVER")]
    pub(crate) server: Option<String>,
}

/// `dhow logout`.
#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The registry; Docker Hub when not given
    #[arg(value_name = "SERVER")]
    pub(crate) server: Option<String>,
}
