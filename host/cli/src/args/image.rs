//! Verbs about images.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `dhow images`.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch the user can type"
)]
pub(crate) struct ImagesArgs {
    /// Also those without a name that others build on
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Also digests
    #[arg(long)]
    pub(crate) digests: bool,
    /// Only some, such as dangling=true or label=a=b
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// json, table, or a Go template such as '{{.Repository}}:{{.Tag}}'
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Show ids in full length
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Only this name, such as busybox or busybox:1.36
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) name: Option<String>,
}

/// `dhow load`.
#[derive(Debug, Args)]
#[command(
    after_help = "Archives of Docker and OCI, plain or compressed with gzip or zstd.\n\n\
    Examples:\n  dhow load -i busybox.tar\n  zcat image.tar.gz | dhow load"
)]
pub(crate) struct LoadArgs {
    /// The archive; standard input when not given
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// Say only what was loaded
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `dhow import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Set a part of its configuration with an instruction such as 'CMD ["sh"]'
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub(crate) change: Vec<String>,
    /// A comment to keep with it
    #[arg(short, long)]
    pub(crate) message: Option<String>,
    /// Only linux/amd64 can run
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// The archive, or - for standard input
    pub(crate) file: PathBuf,
    /// A name for the image
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) name: Option<String>,
}

/// `dhow rmi`.
#[derive(Debug, Args)]
pub(crate) struct RemoveImageArgs {
    /// Also when stopped containers use it
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Keep the images it was made from
    #[arg(long)]
    pub(crate) no_prune: bool,
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,
}

/// `dhow tag`.
#[derive(Debug, Args)]
pub(crate) struct TagArgs {
    /// Name or id of the image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The further name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) name: String,
}

/// `dhow pull`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  dhow pull busybox\n  dhow pull localhost:5000/team/app:1.2")]
pub(crate) struct PullArgs {
    /// All tags of the repository
    #[arg(short, long)]
    pub(crate) all_tags: bool,
    /// For this platform; only what can run here
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Say only which image it was
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Taken for Docker's sake; content is always verified by digest
    #[arg(long, hide = true)]
    pub(crate) disable_content_trust: bool,
    /// What to pull
    #[arg(value_name = "REPOSITORY[:TAG|@DIGEST]")]
    pub(crate) name: String,
}

/// `dhow push`.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// All tags of the repository
    #[arg(short, long)]
    pub(crate) all_tags: bool,
    /// Say only which image it was
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Taken for Docker's sake
    #[arg(long, hide = true)]
    pub(crate) disable_content_trust: bool,
    /// What to push, under the name it is to have
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub(crate) name: String,
}

/// `dhow save`.
#[derive(Debug, Args)]
#[command(
    after_help = "The archive is a Docker one and an OCI layout at once.\n\n\
    Examples:\n  dhow save -o busybox.tar busybox\n  dhow save app | zstd > app.tar.zst"
)]
pub(crate) struct SaveArgs {
    /// The archive; standard output when not given
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Names or ids; a name without tag saves all its tags
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,
}

/// `dhow history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// json, table, or a Go template
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Sizes in units, not in bytes
    #[arg(
        short = 'H',
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        hide_possible_values = true
    )]
    pub(crate) human: bool,
    /// Show everything in full length
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Name or id
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
}

/// `dhow search`.
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// Only some, such as stars=3 or is-official=true
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// json, table, or a Go template
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 25, value_name = "NUMBER")]
    pub(crate) limit: u32,
    /// Show descriptions in full length
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// What to look for, such as web or localhost:5000/web
    #[arg(value_name = "TERM")]
    pub(crate) term: String,
}

/// `dhow image prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Also images with names, if no container uses them
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only some, such as until=24h or label=a=b
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// `dhow image inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectImageArgs {
    /// json, or a Go template such as '{{.Config.Cmd}}'
    #[arg(short, long)]
    pub(crate) format: Option<String>,
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,
}

/// `dhow image …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageVerb {
    /// List images
    #[command(visible_alias = "list")]
    Ls(ImagesArgs),
    /// Show everything about images
    Inspect(InspectImageArgs),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(RemoveImageArgs),
    /// Fetch an image from a registry
    Pull(PullArgs),
    /// Send an image to a registry
    Push(PushArgs),
    /// Write images as one archive
    Save(SaveArgs),
    /// Add images from an archive
    Load(LoadArgs),
    /// Make an image from the archive of a root file system
    Import(ImportArgs),
    /// Give an image a further name
    Tag(TagArgs),
    /// Show how an image was made
    History(HistoryArgs),
    /// Remove images that nothing needs
    Prune(PruneArgs),
}
