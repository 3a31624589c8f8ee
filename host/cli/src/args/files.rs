//! Verbs for a container's files.

use std::path::PathBuf;

use clap::Args;

/// `dhow diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// Name or id
    pub(crate) container: String,
}

/// `dhow export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Write it to a file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Name or id
    pub(crate) container: String,
}

/// `dhow cp`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    dhow cp web:/etc/nginx .          a folder out of a container\n  \
    dhow cp index.html web:/srv/      a file into one\n  \
    dhow cp web:/var/log - | tar -t   an archive of it")]
pub(crate) struct CopyArgs {
    /// Give files to the container's user
    #[arg(short, long)]
    pub(crate) archive: bool,
    /// Copy what a link leads to, where the source is one
    #[arg(short = 'L', long)]
    pub(crate) follow_link: bool,
    /// Say nothing
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// What to copy: PATH, CONTAINER:PATH, or - for an archive from standard input
    pub(crate) source: String,
    /// Where to: PATH, CONTAINER:PATH, or - for an archive to standard output
    pub(crate) destination: String,
}

/// `dhow commit`.
#[derive(Debug, Args)]
pub(crate) struct CommitArgs {
    /// Who makes it
    #[arg(short, long, value_name = "NAME")]
    pub(crate) author: Option<String>,
    /// Change the image's configuration by a Dockerfile instruction
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub(crate) change: Vec<String>,
    /// A comment for the history
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Freeze the container meanwhile: true or false
    #[arg(short, long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) pause: bool,
    /// Name or id
    pub(crate) container: String,
    /// The image's name
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) reference: Option<String>,
}
