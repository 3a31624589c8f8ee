//! Verbs about images.

use std::path::PathBuf;

use clap::Args;

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
