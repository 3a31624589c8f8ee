//! What was typed: one type per verb, nothing resolved, nothing done.
//!
//! The names and letters are Docker's, so that habits and scripts carry over; the words of the
//! help are ours. What a flag means is in `resolve`.

pub(crate) mod container;
pub(crate) mod files;
pub(crate) mod help;
pub(crate) mod image;
pub(crate) mod lifecycle;
pub(crate) mod look;
pub(crate) mod network;
pub(crate) mod run;
pub(crate) mod system;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{FromArgMatches, Parser, Subcommand};

use crate::failure::Failure;

/// Linux containers in a small virtual machine of their own
#[derive(Debug, Parser)]
#[command(
    name = "dhow",
    version,
    disable_help_subcommand = true,
    infer_subcommands = false
)]
pub(crate) struct Cli {
    /// Talk to this socket instead of our own daemon, and start nothing
    #[arg(
        short = 'H',
        long,
        value_name = "unix://PATH",
        env = "DHOW_HOST",
        global = false
    )]
    pub(crate) host: Option<String>,

    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The verbs, in the order in which a container's life uses them.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create a container from an image and start it
    Run(Box<run::RunArgs>),
    /// Create a container without starting it
    Create(Box<run::CreateArgs>),
    /// Start stopped containers
    Start(lifecycle::StartArgs),
    /// Connect to a running container's input and output
    Attach(lifecycle::AttachArgs),
    /// Run a further command in a running container
    Exec(lifecycle::ExecArgs),
    /// Stop running containers
    Stop(lifecycle::StopArgs),
    /// Stop and start containers
    Restart(lifecycle::StopArgs),
    /// Send a signal to running containers
    Kill(lifecycle::KillArgs),
    /// Freeze all processes of containers
    Pause(lifecycle::NamesArgs),
    /// Let frozen containers go on
    Unpause(lifecycle::NamesArgs),
    /// Wait until containers stop, and print their exit codes
    Wait(lifecycle::NamesArgs),
    /// Remove containers
    Rm(lifecycle::RemoveArgs),
    /// Give a container another name
    Rename(lifecycle::RenameArgs),
    /// Copy files into a container or out of one
    Cp(files::CopyArgs),
    /// Show what a container has changed in its files
    Diff(files::DiffArgs),
    /// Make an image of a container
    Commit(files::CommitArgs),
    /// Write all files of a container as an archive
    Export(files::ExportArgs),
    /// Change the limits of containers
    Update(Box<lifecycle::UpdateArgs>),

    /// List containers
    Ps(look::PsArgs),
    /// Show what a container has said
    Logs(look::LogsArgs),
    /// Show everything about containers or images
    Inspect(look::InspectArgs),
    /// Show the processes of a container
    Top(look::TopArgs),
    /// Show what containers use
    Stats(look::StatsArgs),
    /// Show where a container's ports are published
    Port(look::PortArgs),
    /// Show what happens, as it happens
    Events(look::EventsArgs),

    /// List images
    Images(image::ImagesArgs),
    /// Fetch an image from a registry
    Pull(image::PullArgs),
    /// Send an image to a registry
    Push(image::PushArgs),
    /// Look for images in a registry
    Search(image::SearchArgs),
    /// Write images as one archive
    Save(image::SaveArgs),
    /// Add images from an archive
    Load(image::LoadArgs),
    /// Make an image from the archive of a root file system
    Import(image::ImportArgs),
    /// Remove images
    Rmi(image::RemoveImageArgs),
    /// Give an image a further name
    Tag(image::TagArgs),
    /// Show how an image was made
    History(image::HistoryArgs),
    /// All verbs about images, and prune
    #[command(subcommand)]
    Image(image::ImageVerb),
    /// Log in to a registry
    Login(system::LoginArgs),
    /// Forget a login
    Logout(system::LogoutArgs),

    /// Look after networks
    #[command(subcommand)]
    Network(network::NetworkVerb),
    /// Look after the virtual machine that containers run in
    #[command(subcommand)]
    Machine(system::MachineVerb),
    /// Show facts about daemon and machine
    Info(system::FormatArgs),
    /// Show versions
    Version(system::FormatArgs),
    /// Check what this computer can do, and say how to mend what it cannot
    Doctor(system::DoctorArgs),
    /// Print the setting that lets Docker's own tools use dhow
    Env(system::EnvArgs),
    /// Print a completion script for a shell
    Completion(system::CompletionArgs),

    /// Serve the API; started by the other verbs when needed
    #[command(hide = true)]
    Daemon(system::DaemonArgs),
    /// Own a KVM machine; started by the daemon
    #[command(hide = true)]
    Vmm(system::VmmArgs),
    /// Own a UML machine; started by the daemon
    #[command(hide = true)]
    Devices,
}

/// Reads a command line.
pub(crate) fn parse(line: impl IntoIterator<Item = OsString> + Clone) -> Result<Cli, clap::Error> {
    let parsed = help::command().try_get_matches_from(line.clone());
    let matches = match parsed {
        // A switch was given a value: `--rm=true`. Docker has that, our help would suffer from it.
        Err(error) if error.kind() == ErrorKind::TooManyValues => {
            help::command_with_switch_values().try_get_matches_from(line)?
        }
        other => other?,
    };
    Cli::from_arg_matches(&matches)
}

/// What is wrong with a command line, in one line and a hint; nothing when help was asked for.
pub(crate) fn mistake(error: &clap::Error) -> Option<Failure> {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return None;
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let message: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let tip = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("tip: "));
    let usage = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Usage: "));
    let hint = match (tip, usage) {
        (Some(tip), _) => tip.to_owned(),
        (None, Some(usage)) => format!("usage: {usage}"),
        (None, None) => "`dhow --help` shows what there is".to_owned(),
    };
    Some(Failure::new(message.join(" ")).hint(hint))
}

/// A file, or standard input when it is `-` or absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl From<Option<PathBuf>> for Source {
    fn from(path: Option<PathBuf>) -> Self {
        match path {
            Some(path) if path.as_os_str() != "-" => Self::File(path),
            _ => Self::Stdin,
        }
    }
}

#[cfg(test)]
mod tests;
