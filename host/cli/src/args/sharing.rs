//! What a container shares with others, or is given of its machine.

use clap::Args;

/// Volumes of others, devices, namespaces.
#[derive(Debug, Default, Args)]
pub(crate) struct SharingArgs {
    /// Mount what another container has mounted
    #[arg(long, value_name = "CONTAINER[:ro]", help_heading = "Files")]
    pub(crate) volumes_from: Vec<String>,
    /// Driver for volumes made for it; there is only `local`
    #[arg(long, value_name = "NAME", help_heading = "Files")]
    pub(crate) volume_driver: Option<String>,

    /// Give it a device of its virtual machine
    #[arg(long, value_name = "PATH[:PATH[:rwm]]", help_heading = "Privileges")]
    pub(crate) device: Vec<String>,
    /// Let it use devices, such as 'c 10:* rw'
    #[arg(long, value_name = "RULE", help_heading = "Privileges")]
    pub(crate) device_cgroup_rule: Vec<String>,
    /// Whose processes it sees: host (its virtual machine's) or container:NAME
    #[arg(long, value_name = "MODE", help_heading = "Privileges")]
    pub(crate) pid: Option<String>,
    /// Whose shared memory it uses: private, none or host (its virtual machine's)
    #[arg(long, value_name = "MODE", help_heading = "Privileges")]
    pub(crate) ipc: Option<String>,
    /// Whose host name it has: host (its virtual machine's)
    #[arg(long, value_name = "MODE", help_heading = "Privileges")]
    pub(crate) uts: Option<String>,
    /// Whose cgroups it sees: private or host (its virtual machine's)
    #[arg(long, value_name = "MODE", help_heading = "Privileges")]
    pub(crate) cgroupns: Option<CgroupNamespace>,
    /// Whose users it has: host
    #[arg(long, value_name = "MODE", help_heading = "Privileges")]
    pub(crate) userns: Option<String>,

    /// Note something for tools
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Identity")]
    pub(crate) annotation: Vec<String>,
}

/// Whose cgroups a container sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CgroupNamespace {
    /// The machine's.
    Host,
    /// Its own.
    Private,
}
