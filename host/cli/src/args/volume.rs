//! `dhow volume …`.

use clap::{Args, Subcommand};

/// What can be done with volumes.
#[derive(Debug, Subcommand)]
pub(crate) enum VolumeVerb {
    /// Make a volume
    Create(CreateVolumeArgs),
    /// Show everything about volumes
    Inspect(InspectVolumeArgs),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(ListVolumesArgs),
    /// Remove volumes that no container has
    #[command(visible_alias = "remove")]
    Rm(RemoveVolumesArgs),
    /// Remove volumes that nobody named and no container has
    Prune(PruneVolumesArgs),
}

/// `dhow volume create`.
#[derive(Debug, Args)]
pub(crate) struct CreateVolumeArgs {
    /// Driver; there is only `local`
    #[arg(short, long, value_name = "NAME", default_value = "local")]
    pub(crate) driver: String,
    /// Label it
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// Set an option of the driver
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) opt: Vec<String>,
    /// Its name; a random one without
    #[arg(value_name = "VOLUME")]
    pub(crate) name: Option<String>,
}

/// `dhow volume inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectVolumeArgs {
    /// json, or a Go template such as '{{.Mountpoint}}'
    #[arg(short, long)]
    pub(crate) format: Option<String>,
    /// Names
    #[arg(value_name = "VOLUME", required = true)]
    pub(crate) names: Vec<String>,
}

/// `dhow volume ls`.
#[derive(Debug, Args)]
pub(crate) struct ListVolumesArgs {
    /// Only some, such as dangling=true, name=db, label=a=b
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// json, table, or a Go template such as '{{.Name}}'
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Only names
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `dhow volume rm`.
#[derive(Debug, Args)]
pub(crate) struct RemoveVolumesArgs {
    /// Do not fail for what is not there
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Names
    #[arg(value_name = "VOLUME", required = true)]
    pub(crate) names: Vec<String>,
}

/// `dhow volume prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneVolumesArgs {
    /// Also those that were named
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only some, such as label=a=b
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
}
